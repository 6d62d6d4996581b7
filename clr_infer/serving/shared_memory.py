"""Files in ``/dev/shm`` of clients and servers of ours that are no more."""

import contextlib
import os
import re
from pathlib import Path

__all__ = ["SERVER_PREFIX", "remove_stale"]

SERVER_PREFIX = "clr_infer_server_"
"""What the names of a server's regions start with, followed by its supervisor's process."""

_NAME = re.compile(r"clr_infer_(?:server_)?(\d+)_")
_FOLDER = Path("/dev/shm")


def remove_stale(folder: Path = _FOLDER) -> list[str]:
    """Remove the regions whose process has ended; returns their names."""
    removed = []
    for path in folder.glob("clr_infer_*"):
        match = _NAME.match(path.name)
        if match and not _alive(int(match[1])):
            with contextlib.suppress(OSError):  # gone meanwhile, or somebody else's
                path.unlink()
                removed.append(path.name)
    return removed


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True
