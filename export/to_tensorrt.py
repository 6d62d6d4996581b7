"""ONNX files to TensorRT engines: one builder for both flavours, ``tensorrt`` and ``tensorrt-rtx``.

Both have the same Python API, and neither has precision flags (TensorRT 11 dropped them,
TensorRT-RTX never had them): the types are those of the ONNX graph. ``tensorrt-rtx`` compiles for
the GPU when an engine is first run, so it builds where there is no GPU; ``tensorrt`` times kernels
on the GPU that it builds for.
"""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from tqdm import tqdm

from ..engine_files import (
    Sidecar,
    device_capability,
    import_flavour,
    plan_name,
    platform_name,
    sidecar_name,
)
from ..errors import ModelError, OutputError, RuntimeUnavailable, UsageError
from ..specs import SPECS, NetworkSpec
from ..staging import staged_folders
from ..weights import Weights
from .onnx_folder import write_folder

__all__ = ["AMPERE_PLUS", "EngineOptions", "build_engine", "write_engines"]

AMPERE_PLUS = "8.0+"


@dataclass(frozen=True)
class EngineOptions:
    """How engines are built.

    Attributes:
        flavour: ``"tensorrt"`` or ``"tensorrt-rtx"``.
        batches: least, best and largest batch of the profile; the least is 1.
        compute_capabilities: such as ``("8.9", "12.0")``; none takes Ampere and later
            (``tensorrt-rtx``) or the GPU here (``tensorrt``, which builds for no other one).
        hardware_compatible: ``tensorrt`` only: run on Ampere and every later GPU, at some cost.
        version_compatible: ``tensorrt`` only: run under later versions of the same major one.
        timing_cache: ``tensorrt`` only: a file that makes the next build faster.
        tf32: let float32 layers round to TF32; off for parity with the other runtimes.
    """

    flavour: str
    batches: tuple[int, int, int] = (1, 8, 32)
    compute_capabilities: tuple[str, ...] = ()
    hardware_compatible: bool = False
    version_compatible: bool = False
    timing_cache: Path | None = None
    tf32: bool = False

    def check(self) -> None:
        """Refuse what does not go together.

        Raises:
            UsageError: the message says what.
        """
        least, best, largest = self.batches
        if not 1 <= least <= best <= largest:
            raise UsageError(f"batches must rise from 1: least, best, largest, not {self.batches}")
        if least > 1:
            raise UsageError(
                f"the least batch must be 1, not {least}: single images, and what is left of a "
                "batch that is run in pieces, would find no engine"
            )
        if self.flavour == "tensorrt" and self.compute_capabilities:
            raise UsageError("tensorrt builds for the GPU here; leave the compute capability out")
        if self.flavour == "tensorrt-rtx" and self.version_compatible:
            raise UsageError(
                "TensorRT-RTX comes without the lean runtime that version compatibility needs"
            )
        if self.flavour == "tensorrt-rtx" and (self.hardware_compatible or self.timing_cache):
            raise UsageError(
                "TensorRT-RTX engines fit every GPU from Ampere on, and it times nothing when it "
                "builds: leave hardware compatibility and the timing cache out"
            )


def _logger(trt: ModuleType, messages: list[str]) -> Any:
    class Logger(trt.ILogger):  # type: ignore[name-defined]
        """Keeps errors for our own message; warnings about a missing GPU say nothing new."""

        def __init__(self) -> None:
            super().__init__()

        def log(self, severity: Any, message: str) -> None:
            if severity == trt.ILogger.ERROR:
                messages.append(message)

    return Logger()


def _monitor(trt: ModuleType, label: str) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[name-defined]
        """The builder's phases as bars; phases nest."""

        def __init__(self) -> None:
            super().__init__()
            self.bars: dict[str, tqdm] = {}
            self.steps = 0

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            description = f"{label}: {phase_name}"
            self.bars[phase_name] = tqdm(
                total=num_steps, desc=description, leave=False, disable=None
            )

        def step_complete(self, phase_name: str, step: int) -> bool:
            self.steps += 1
            if phase_name in self.bars:
                self.bars[phase_name].update()
            return True

        def phase_finish(self, phase_name: str) -> None:
            if phase_name in self.bars:
                self.bars.pop(phase_name).close()

    return Monitor()


def _parse(trt: ModuleType, builder: Any, logger: Any, spec: NetworkSpec, graph: bytes) -> Any:
    flags = 0
    if hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(graph):
        errors = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
        raise ModelError(f"TensorRT cannot read the ONNX file of {spec.name}: {errors}")
    return network


def _profile(spec: NetworkSpec, size: int, options: EngineOptions) -> dict[str, dict[str, list]]:
    names = ("min", "opt", "max")
    return {
        tensor.name: {
            name: [batch, *tensor.dims(size)]
            for name, batch in zip(names, options.batches, strict=True)
        }
        for tensor in spec.inputs
    }


def _configure(trt: ModuleType, builder: Any, options: EngineOptions, profile: dict) -> Any:
    config = builder.create_builder_config()
    flag = trt.BuilderFlag
    if not options.tf32 and hasattr(flag, "TF32"):
        config.clear_flag(flag.TF32)
    if options.version_compatible:
        config.set_flag(flag.VERSION_COMPATIBLE)
    if options.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if options.compute_capabilities:
        known = trt.ComputeCapability.__members__
        chosen = [f"SM{one.replace('.', '')}" for one in options.compute_capabilities]
        if unknown := [name for name in chosen if name not in known]:
            raise UsageError(f"{options.flavour} knows {', '.join(known)}; not {unknown}")
        config.num_compute_capabilities = len(chosen)
        for index, name in enumerate(chosen):
            config.set_compute_capability(known[name], index)
    if options.timing_cache is not None:
        path = options.timing_cache
        content = path.read_bytes() if path.exists() else b""
        config.set_timing_cache(config.create_timing_cache(content), False)
    shapes = builder.create_optimization_profile()
    for name, one in profile.items():
        shapes.set_shape(name, one["min"], one["opt"], one["max"])
    config.add_optimization_profile(shapes)
    return config


def _capabilities(options: EngineOptions) -> tuple[str, ...]:
    if options.compute_capabilities:
        return options.compute_capabilities
    if options.flavour == "tensorrt-rtx" or options.hardware_compatible:
        return (AMPERE_PLUS,)
    here = device_capability()
    if here is None:
        raise RuntimeUnavailable(
            "tensorrt builds on the GPU that the engine is for, and the driver shows none here; "
            "tensorrt-rtx builds without one"
        )
    return (here,)


def build_engine(
    graph: bytes, spec: NetworkSpec, size: int, precision: str, options: EngineOptions
) -> tuple[bytes, Sidecar]:
    """Build one engine.

    Args:
        graph: an ONNX file's content.
        spec: the network's; its inputs make the optimisation profile.
        size: side of the frame in pixels.
        precision: of the graph, for the record.
        options: see there.

    Returns:
        The plan and its facts.

    Raises:
        UsageError: the options do not go together.
        RuntimeUnavailable: the library is missing, or the GPU that it needs.
        ModelError: the library cannot read the graph or build it.
    """
    options.check()
    trt = import_flavour(options.flavour)
    capabilities, profile = _capabilities(options), _profile(spec, size, options)
    messages: list[str] = []
    logger = _logger(trt, messages)
    began = time.perf_counter()
    builder = trt.Builder(logger)
    network = _parse(trt, builder, logger, spec, graph)
    config = _configure(trt, builder, options, profile)
    if hasattr(config, "progress_monitor"):
        config.progress_monitor = _monitor(trt, spec.name)
    serialised = builder.build_serialized_network(network, config)
    if serialised is None:
        reason = messages[-1] if messages else "it gave no reason"
        raise ModelError(f"{options.flavour} cannot build {spec.name} in {precision}: {reason}")
    plan = bytes(memoryview(serialised))
    if options.timing_cache is not None:
        _save_timing_cache(config, options.timing_cache)
    return plan, Sidecar(
        network=spec.name,
        flavour=options.flavour,
        version=trt.__version__,
        version_compatible=options.version_compatible,
        precision=precision,
        onnx_sha256=hashlib.sha256(graph).hexdigest(),
        plan_sha256=hashlib.sha256(plan).hexdigest(),
        plan_bytes=len(plan),
        platform=platform_name(),
        compute_capabilities=capabilities,
        profile=profile,
        build_s=round(time.perf_counter() - began, 3),
    )


def _save_timing_cache(config: Any, path: Path) -> None:
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_bytes(memoryview(config.get_timing_cache().serialize()))
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write the timing cache {path}: {error}") from error


def write_engines(
    folder: Path, sources: Sequence[Weights], options: EngineOptions, *, force: bool = False
) -> dict[str, list[Sidecar]]:
    """Build the engines of all networks from folders of ONNX files; all of it or nothing.

    Args:
        folder: gets one folder per precision: the ONNX files, and for each network a plan and
            its sidecar. ``load(runtime=flavour, weights=...)`` opens it.
        sources: folders that :func:`.onnx_folder.write_onnx` wrote, each of another precision.
        options: how to build.
        force: replace folders that exist.

    Returns:
        The facts of the engines of each precision.

    Raises:
        UsageError: the options do not go together, or a precision comes twice.
        RuntimeUnavailable: the library is missing, or the GPU that it needs.
        ModelError: an engine cannot be built; nothing was written.
        OutputError: a folder exists or cannot be written; nothing was.
    """
    options.check()
    names = [source.manifest.get("precision", "fp32") for source in sources]
    if len(set(names)) < len(names):
        raise UsageError(f"each precision once, not {names}")
    built: dict[str, list[Sidecar]] = {}
    with staged_folders(folder, names, force=force) as staging:
        for name, source in zip(names, sources, strict=True):
            files = {f"{network}.onnx": source.read(f"{network}.onnx") for network in SPECS}
            built[name] = []
            for network, spec in tqdm(
                SPECS.items(), desc=f"{options.flavour} {name}", unit="engine", disable=None
            ):
                graph = files[f"{network}.onnx"]
                plan, sidecar = build_engine(graph, spec, source.size, name, options)
                files |= {plan_name(network): plan, sidecar_name(network): sidecar.to_json()}
                built[name].append(sidecar)
            write_folder(staging / name, source, {"precision": name}, files)
    return built
