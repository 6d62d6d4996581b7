"""What every result file says of the run that made it."""

import subprocess
from pathlib import Path
from typing import Any

from ..env import command_line, describe_environment

__all__ = ["commit", "facts"]

_HERE = Path(__file__).resolve()


def commit() -> str | None:
    """The commit of this code, marked if files differ; ``None`` where it is no checkout."""

    def git(*words: str) -> tuple[int, str]:
        command = ["git", "-C", str(_HERE.parent), *words]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.returncode, done.stdout.strip()

    try:
        if git("rev-parse", "--verify", "--quiet", f"HEAD:./{_HERE.name}")[0]:
            return None  # installed, maybe within somebody else's repository
        failed, head = git("rev-parse", "HEAD")
        changed = git("diff", "--quiet", "HEAD")[0] == 1
    except OSError:  # there is no git
        return None
    return None if failed else f"{head}, changed" if changed else head


def facts(kind: str) -> dict[str, Any]:
    """Kind, commit, command and environment."""
    return {
        "kind": kind,
        "commit": commit(),
        "command": command_line("clr-infer"),
        "environment": describe_environment(),
    }
