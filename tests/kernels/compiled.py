"""A Python that compiles kernels where this one interprets them."""

import json
import os
import subprocess
import sys
from typing import Any


def compiled(*arguments: str) -> Any:
    """What it prints as JSON."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)
