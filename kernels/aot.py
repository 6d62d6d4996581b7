"""Triton kernels compiled ahead of time, without a GPU, and what the machine code says of them.

Each module of :data:`KERNEL_MODULES` lists its kernels in a dictionary ``LAUNCHES``: name to
:class:`Launch`. ``python -m clr_infer.kernels.aot`` prints the report of all of them as JSON.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from .dispatch import KernelUnavailable

__all__ = ["ARCHS", "KERNEL_MODULES", "Launch", "compile_report", "registry", "report_all"]

ARCHS = (80, 90)
"""Compute capabilities that every kernel is compiled for: A100, and H100 or H200."""

KERNEL_MODULES = ("codec", "jpeg_tables", "merge", "place", "resize", "stages", "subsample")


@dataclass(frozen=True)
class Launch:
    """One way in which a kernel is launched.

    Attributes:
        kernel: the function under ``@jit``.
        types: type of each argument that is no constant, in Triton's words: ``"*u8"`` for a
            pointer to uint8, ``"*fp32"``, ``"i32"``, ``"fp32"``.
        constants: value of each ``tl.constexpr``.
        options: of the compiler, as in the launch: ``num_warps``, ``enable_fp_fusion``.
        multiples_of_16: integer arguments that are, in the usual launch, multiples of 16.
    """

    kernel: Any
    types: dict[str, str]
    constants: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    multiples_of_16: tuple[str, ...] = ()


def registry() -> dict[str, Launch]:
    """All kernels of the package, by ``module.name``."""
    modules = {name: import_module(f".{name}", __package__) for name in KERNEL_MODULES}
    return {
        f"{name}.{kernel}": launch
        for name, module in modules.items()
        for kernel, launch in module.LAUNCHES.items()
    }


def compile_report(launch: Launch, arch: int) -> dict[str, int]:
    """Compile a kernel and read its machine code; no GPU is needed.

    Pointers are taken to be aligned to 16 bytes, as fresh tensors are.

    Args:
        launch: the kernel.
        arch: compute capability: 80, 90.

    Returns:
        registers: a thread's, of 255.
        spills: loads and stores of registers that did not fit.
        stack_bytes: local memory of a thread.
        shared_bytes: shared memory of a program.
        barriers: points at which all warps wait.
        instructions: length of the code, without padding.
        global_loads, global_stores: instructions that read or write global memory.
        warps: of a program.

    Raises:
        KernelUnavailable: Triton is not installed, or interprets kernels in this process.
    """
    code, shared_bytes, warps = _compile(launch, arch)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernel.cubin")
        path.write_bytes(code)
        usage = _tool("cuobjdump", "-res-usage", str(path))
        assembly = _tool("nvdisasm", str(path))
    found = re.search(r"REG:(\d+) STACK:(\d+)", usage)
    if found is None:
        raise RuntimeError(f"cuobjdump names no registers: {usage}")
    names = re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)", assembly)
    count = Counter(name.split(".")[0] for name in names if name != "NOP")
    return {
        "registers": int(found[1]),
        "spills": count["LDL"] + count["STL"],
        "stack_bytes": int(found[2]),
        "shared_bytes": shared_bytes,
        "barriers": count["BAR"],
        "instructions": count.total(),
        "global_loads": count["LDG"] + count["LDGSTS"],
        "global_stores": count["STG"],
        "warps": warps,
    }


def _compile(launch: Launch, arch: int) -> tuple[bytes, int, int]:
    """The machine code, the bytes of shared memory and the number of warps."""
    try:
        import triton
        from triton.backends.compiler import GPUTarget
        from triton.compiler import ASTSource
    except ImportError as error:
        raise KernelUnavailable('compiling needs triton: pip install "clr_infer[gpu]"') from error
    if not isinstance(launch.kernel, triton.JITFunction):
        raise KernelUnavailable("kernels are interpreted here: start without TRITON_INTERPRET")
    names = launch.kernel.arg_names
    source = ASTSource(
        launch.kernel,
        signature={n: "constexpr" if n in launch.constants else launch.types[n] for n in names},
        constexprs=launch.constants,
        attrs={
            (index,): [["tt.divisibility", 16]]
            for index, name in enumerate(names)
            if launch.types.get(name, "").startswith("*") or name in launch.multiples_of_16
        },
    )
    made = triton.compile(source, target=GPUTarget("cuda", arch, 32), options=launch.options)
    return made.asm["cubin"], made.metadata.shared, made.metadata.num_warps


def _tool(name: str, *arguments: str) -> str:
    """Run one of the CUDA tools that Triton brings along; returns what it prints."""
    from triton import knobs

    command = [getattr(knobs.nvidia, name).path, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def report_all(
    launches: dict[str, Launch], archs: Sequence[int] = ARCHS
) -> dict[str, dict[str, dict[str, int]]]:
    """:func:`compile_report` of several kernels: name to ``"sm_80"`` to report."""
    return {
        name: {f"sm_{arch}": compile_report(launch, arch) for arch in archs}
        for name, launch in launches.items()
    }


if __name__ == "__main__":
    json.dump(report_all(registry()), sys.stdout, indent=1)
