"""The processes in which Triton server's Python backend runs models."""

from pathlib import Path

__all__ = ["stub_processes"]

_STUB = b"triton_python_backend_stub"


def stub_processes(server_pid: int) -> dict[str, list[int]]:
    """The living processes of each model of a server on this machine."""
    found: dict[str, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if len(words) < 2 or not words[0].endswith(_STUB):
                continue
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):  # it ended meanwhile
            continue
        if parent == server_pid:
            model = Path(words[1].decode()).parent.parent.name
            found.setdefault(model, []).append(int(folder.name))
    return found
