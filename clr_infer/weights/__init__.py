"""The trained weights that ship with the package, and folders like theirs.

A folder of weights holds ``manifest.json`` (the facts of the networks, the sha256 of each file),
one ``*.onnx`` per network, ``clr_infer.safetensors`` and ``MODEL_CARD.md``. It may hold an
int8 twin of some networks, ``int8/*.onnx``, for runtimes that are faster with them.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from ..errors import WeightsError

__all__ = ["INT8_PREFIX", "MANIFEST", "SAFETENSORS", "Weights", "default_folder"]

MANIFEST = "manifest.json"
SAFETENSORS = "clr_infer.safetensors"
INT8_PREFIX = "int8/"
_FORMAT = 1


def default_folder() -> Path:
    """The folder of the weights in the package."""
    return Path(__file__).parent


class Weights:
    """A folder of weights; every file is checked against the manifest before use.

    Args:
        folder: ``None`` takes the weights in the package.

    Attributes:
        size: side of the networks' frame in pixels.
        psnr_db: strength that the networks were trained for, and give a residual.
        default_psnr_db: strength to protect at unless told otherwise.

    Raises:
        WeightsError: the folder holds no manifest that this version reads.
    """

    def __init__(self, folder: Path | str | None = None) -> None:
        self.folder = Path(folder) if folder is not None else default_folder()
        try:
            manifest: dict[str, Any] = json.loads((self.folder / MANIFEST).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise WeightsError(f"no readable {MANIFEST} in {self.folder}: {error}") from error
        found = manifest.get("format") if isinstance(manifest, dict) else None
        if found != _FORMAT:
            raise WeightsError(
                f"{self.folder / MANIFEST} has format {found}; this version reads format {_FORMAT}"
            )
        self.manifest = manifest
        try:
            self.size = int(manifest["size"])
            self.psnr_db = float(manifest["psnr_db"])
            self.default_psnr_db = float(manifest["default_psnr_db"])
            manifest["files"].keys()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise WeightsError(f"{self.folder / MANIFEST} is incomplete: {error!r}") from error

    @property
    def has_int8(self) -> bool:
        """Are there graphs with int8 layers: of the folder's own precision, or beside others?"""
        beside = any(name.startswith(INT8_PREFIX) for name in self.manifest["files"])
        return beside or self.manifest.get("precision") == "int8"

    def graph_name(self, network: str, int8: bool = False) -> str:
        """The ONNX file of a network; with ``int8`` its int8 twin where there is one."""
        twin = f"{INT8_PREFIX}{network}.onnx"
        return twin if int8 and twin in self.manifest["files"] else f"{network}.onnx"

    def read(self, name: str) -> bytes:
        """Read a file and hold it against its sha256.

        Raises:
            WeightsError: not in the manifest, missing, or not the file that was published.
        """
        expected = self.manifest["files"].get(name)
        if expected is None:
            raise WeightsError(
                f"{name} is not among these weights: {sorted(self.manifest['files'])}"
            )
        try:
            content = (self.folder / name).read_bytes()
        except OSError as error:
            raise WeightsError(f"cannot read the weights {self.folder / name}: {error}") from error
        if hashlib.sha256(content).hexdigest() != expected:
            raise WeightsError(
                f"{self.folder / name} is not the file of the manifest (sha256 differs); "
                "install the package again, or export the weights again"
            )
        return content
