"""Engines and their sidecars: what was built, from what, for what; checked before any use.

A plan is native code. It is deserialised only when the sidecar beside it says that it was built
from the ONNX file of the same manifest, by this flavour and version, for this machine.
"""

import ctypes
import hashlib
import importlib
import json
import platform
import sys
from dataclasses import asdict, dataclass, fields
from types import ModuleType
from typing import Any

from .errors import EngineMismatch, RuntimeUnavailable, UsageError

__all__ = [
    "FLAVOURS",
    "Sidecar",
    "check_engine",
    "device_capability",
    "import_flavour",
    "plan_name",
    "platform_name",
    "sidecar_name",
]

FLAVOURS = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
"""The module of each flavour; the flavour is the name of its runtime, too."""

_FORMAT = 1
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76  # CUdevice_attribute


@dataclass(frozen=True)
class Sidecar:
    """The facts of one engine, ``<network>.json`` beside ``<network>.plan``.

    Attributes:
        network: its name.
        flavour: a key of :data:`FLAVOURS`.
        version: of the library that built it.
        version_compatible: whether other versions of the same major one may open it.
        precision: of the ONNX graph.
        onnx_sha256: of the ONNX file it was built from.
        plan_sha256: of the plan.
        plan_bytes: its size.
        platform: operating system and processor, such as ``"linux-x86_64"``.
        compute_capabilities: GPUs it runs on, such as ``"8.9"``; ``"8.0+"`` means from there on.
        profile: least, best and largest shape of each input.
        build_s: seconds that building took.
    """

    network: str
    flavour: str
    version: str
    version_compatible: bool
    precision: str
    onnx_sha256: str
    plan_sha256: str
    plan_bytes: int
    platform: str
    compute_capabilities: tuple[str, ...]
    profile: dict[str, dict[str, list[int]]]
    build_s: float

    def to_json(self) -> bytes:
        """The file's content."""
        return (json.dumps({"format": _FORMAT, **asdict(self)}, indent=1) + "\n").encode()

    @classmethod
    def from_json(cls, content: bytes) -> "Sidecar":
        """Read a file's content.

        Raises:
            EngineMismatch: it is no sidecar that this version reads.
        """
        try:
            values: dict[str, Any] = json.loads(content)
            if values.pop("format") != _FORMAT or set(values) != {f.name for f in fields(cls)}:
                raise ValueError("its fields are not those of this version")
            values["compute_capabilities"] = tuple(values["compute_capabilities"])
            return cls(**values)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise EngineMismatch(f"the engine's sidecar cannot be read: {error}") from error

    @property
    def batch_max(self) -> int:
        """The largest batch that the profile takes."""
        return min(shapes["max"][0] for shapes in self.profile.values())


def plan_name(network: str) -> str:
    """The file of a network's engine."""
    return f"{network}.plan"


def sidecar_name(network: str) -> str:
    """The file of its facts."""
    return f"{network}.json"


def platform_name() -> str:
    """The operating system and processor that engines built here run on."""
    return f"{sys.platform}-{platform.machine().lower()}"


def import_flavour(flavour: str) -> ModuleType:
    """Import the library of a flavour.

    Raises:
        UsageError: there is no such flavour.
        RuntimeUnavailable: it is not installed; the message says what to install.
    """
    if flavour not in FLAVOURS:
        raise UsageError(f"there is no flavour {flavour!r}; choose {' or '.join(FLAVOURS)}")
    try:
        return importlib.import_module(FLAVOURS[flavour])
    except (ImportError, OSError) as error:
        raise RuntimeUnavailable(
            f'{flavour} needs its library: pip install "clr_infer[{flavour}]" ({error})'
        ) from error


def device_capability(index: int = 0) -> str | None:
    """The compute capability of a GPU, such as ``"9.0"``; ``None`` where the driver shows none."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None
    device, value = ctypes.c_int(), ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), index):
        return None
    numbers = []
    for attribute in (_CAPABILITY_MAJOR, _CAPABILITY_MINOR):
        if driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device):
            return None
        numbers.append(value.value)
    return f"{numbers[0]}.{numbers[1]}"


def check_engine(
    sidecar: Sidecar,
    plan: bytes,
    *,
    network: str,
    onnx_sha256: str,
    flavour: str,
    version: str,
    capability: str | None,
) -> None:
    """Hold an engine against this machine, before it is deserialised.

    Args:
        sidecar: the facts beside the plan.
        plan: its content.
        network: what is to be run.
        onnx_sha256: of the ONNX file of the same manifest.
        flavour: of the library that is to run it.
        version: of that library.
        capability: of the GPU; ``None`` leaves that out.

    Raises:
        EngineMismatch: anything differs; the message names all of it and what to do.
    """
    same_version = sidecar.version == version or (
        sidecar.version_compatible and sidecar.version.split(".")[0] == version.split(".")[0]
    )
    built_for = ", ".join(sidecar.compute_capabilities)
    wrong = [
        text
        for is_right, text in (
            (sidecar.network == network, f"it is an engine of {sidecar.network}"),
            (sidecar.flavour == flavour, f"it was built by {sidecar.flavour}, not {flavour}"),
            (same_version, f"it was built by version {sidecar.version}, this is {version}"),
            (
                sidecar.platform == platform_name(),
                f"it was built for {sidecar.platform}, this is {platform_name()}",
            ),
            (
                capability is None or _covers(sidecar.compute_capabilities, capability),
                f"it was built for compute capability {built_for}, this GPU has {capability}",
            ),
            (sidecar.onnx_sha256 == onnx_sha256, "it was built from another ONNX file"),
            (
                hashlib.sha256(plan).hexdigest() == sidecar.plan_sha256,
                "the plan is not the one that the sidecar describes (sha256 differs)",
            ),
        )
        if not is_right
    ]
    if wrong:
        raise EngineMismatch(
            f"the engine of {network} cannot be used here: {'; '.join(wrong)}. Build engines on "
            f"this machine: clr-infer export tensorrt -o DIR --flavour {flavour}"
        )


def _number(capability: str) -> tuple[int, ...]:
    return tuple(int(part) for part in capability.rstrip("+").split("."))


def _covers(capabilities: tuple[str, ...], capability: str) -> bool:
    return any(
        _number(capability) >= _number(one) if one.endswith("+") else one == capability
        for one in capabilities
    )
