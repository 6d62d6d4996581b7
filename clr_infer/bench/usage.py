"""CPU time and memory of a process and of those below it."""

import os
import time
from pathlib import Path

__all__ = ["Usage"]


class Usage:
    """Measures from its creation on.

    Args:
        pid: the topmost process.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._began, self._cpu_s = time.monotonic(), self._cpu()

    def cpu_s(self) -> float:
        """CPU seconds that all of them took."""
        return self._cpu() - self._cpu_s

    def cpu_cores(self) -> float:
        """CPU cores in use on average."""
        return self.cpu_s() / (time.monotonic() - self._began)

    def memory_mb(self, children: bool = True) -> float:
        """Memory in use now, in MB: of a page that several processes share, each has its part."""
        family = self._family() if children else [self._pid]
        return sum(self._share_mb(pid) for pid in family)

    def _family(self) -> list[int]:
        parents = {}
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and (fields := _stat(int(folder.name))):
                parents[int(folder.name)] = int(fields[1])
        family = [self._pid]
        for pid in family:
            family += [child for child, parent in parents.items() if parent == pid]
        return family

    def _cpu(self) -> float:
        ticks = 0
        for pid in self._family():
            if fields := _stat(pid):
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    @staticmethod
    def _share_mb(pid: int) -> float:
        """The proportional set size; 0 for a process that ended meanwhile."""
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            return 0.0
        return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def _stat(pid: int) -> list[str] | None:
    """The fields of a process after its name: state, parent and so on."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it ended meanwhile
        return None
