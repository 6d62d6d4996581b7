"""Libraries that an installation may lack, or that are broken."""

import sys
from types import SimpleNamespace

import pytest

from clr_infer.errors import RuntimeUnavailable
from clr_infer.extras import load_extra, require_installed

FOR = ("a test", "serve")


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """The name of a module that cannot be imported."""
    (tmp_path / "broken_module.py").write_text("raise ImportError('a library is missing')")
    monkeypatch.syspath_prepend(tmp_path)
    return "broken_module"


def test_what_is_there_is_not_imported_before_it_is_needed(broken):
    require_installed(broken, *FOR)
    with pytest.raises(RuntimeUnavailable, match=r"a test needs broken_module.*a library is miss"):
        load_extra(broken, *FOR)


def test_what_is_missing_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "something", SimpleNamespace())
    for name in ("no_such_module", "something"):
        with pytest.raises(RuntimeUnavailable, match=rf"{name}: pip install .*\[serve\]"):
            require_installed(name, *FOR)
    with pytest.raises(RuntimeUnavailable, match=r"needs no_such_module: pip .*\[serve\]"):
        load_extra("no_such_module.inner", *FOR)
