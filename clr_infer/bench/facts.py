"""What every result file says of the run that made it."""

import shlex
import subprocess
import sys
from typing import Any

from ..env import describe_environment

__all__ = ["commit", "facts"]


def commit() -> str | None:
    """The commit of the working folder, ``None`` outside a repository."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip() or None


def facts(kind: str) -> dict[str, Any]:
    """Kind, commit, command and environment."""
    return {
        "kind": kind,
        "commit": commit(),
        "command": shlex.join(["clr-infer", *sys.argv[1:]]),
        "environment": describe_environment(),
    }
