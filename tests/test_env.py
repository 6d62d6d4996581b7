"""What is said of this machine, and of the command that runs."""

import sys

from clr_infer.env import command_line


def test_a_command_names_absolute_paths_by_their_last_part(monkeypatch):
    words = ["/opt/bin/tool", "--models", "/data/a b/models", "-o=/data/out.json", "sub/x", "1e-3"]
    monkeypatch.setattr(sys, "argv", words)
    assert command_line() == "tool --models models -o=out.json sub/x 1e-3"
    assert command_line("clr-infer").startswith("clr-infer --models")
