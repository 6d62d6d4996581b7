"""``log.csv``: running means of the numbers of training, a line every so many steps."""

import csv
import logging
from collections.abc import Mapping
from pathlib import Path

import torch

from ..errors import OutputError

__all__ = ["COLUMNS", "Log"]

_log = logging.getLogger(__name__)

_MEASURED = ("loss", "out_db", "thumb_db", "surprise", "ssim_lost", "log_odds", "align")

COLUMNS = ("step", "seconds", *_MEASURED, "psnr_db", "hardness")
"""The same in every log; what a run does not measure is empty."""

_HEADER = (",".join(COLUMNS) + "\r\n").encode()
_KEPT = 0.98


def _prepare(path: Path) -> None:
    """Keep a log of other columns under another name; cut off what was half written."""
    if not path.exists():
        return
    with path.open("r+b") as stream:
        header = stream.readline()
        if header == _HEADER:
            stream.truncate(len(header) + stream.read().rfind(b"\n") + 1)
    if header not in (b"", _HEADER):
        number = 1
        while (kept := path.with_name(f"{path.stem}-{number}{path.suffix}")).exists():
            number += 1
        path.rename(kept)
        _log.warning("%s has other columns: it is kept as %s", path, kept.name)


def _mean(mean: torch.Tensor | None, value: torch.Tensor) -> torch.Tensor:
    """A running mean that passes over what is not finite, without waiting for the device."""
    if mean is None:
        return value
    mixed = mean * _KEPT + value * (1 - _KEPT)
    return torch.where(mixed.isfinite(), mixed, torch.where(value.isfinite(), value, mean))


class Log:
    """The log of a run, to go on with. Leaving its ``with`` closes the file.

    Args:
        path: the file; one of other columns is renamed, with a warning.

    Raises:
        OutputError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._means = path, dict[str, torch.Tensor]()
        try:
            _prepare(path)
            self._stream = path.open("a", newline="")
            self._writer = csv.DictWriter(self._stream, COLUMNS)
            if self._stream.tell() == 0:
                self._writer.writeheader()
        except OSError as error:
            raise self._error(error) from error

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def _error(self, error: OSError) -> OutputError:
        return OutputError(f"the log cannot be written to {self._path}: {error}")

    def take(self, numbers: Mapping[str, torch.Tensor | float]) -> None:
        """Count the numbers of a step, some of :data:`COLUMNS`, into the means."""
        for name, value in numbers.items():
            self._means[name] = _mean(self._means.get(name), torch.as_tensor(value))

    def write(self, step: int, seconds: float) -> dict[str, str]:
        """Write a line, which waits for the device; returns the means of it.

        Raises:
            OutputError: it cannot be written.
        """
        row = {name: f"{float(value):.4f}" for name, value in self._means.items()}
        try:
            self._writer.writerow({"step": step, "seconds": f"{seconds:.0f}"} | row)
            self._stream.flush()
        except OSError as error:
            raise self._error(error) from error
        return row
