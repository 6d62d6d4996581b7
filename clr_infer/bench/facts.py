"""What every result file says of the run that made it."""

import subprocess
from typing import Any

from ..env import command_line, describe_environment

__all__ = ["commit", "facts"]


def commit() -> str | None:
    """The commit of the working folder, marked if files differ; ``None`` outside a repository."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD"], capture_output=True)
    head = done.stdout.strip()
    return f"{head}, changed" if head and changed.returncode == 1 else head or None


def facts(kind: str) -> dict[str, Any]:
    """Kind, commit, command and environment."""
    return {
        "kind": kind,
        "commit": commit(),
        "command": command_line("clr-infer"),
        "environment": describe_environment(),
    }
