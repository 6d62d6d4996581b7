"""Limits that would make no sense are refused where they are set."""

import pytest

from clr_infer.errors import InputError
from clr_infer.settings import Settings


@pytest.mark.parametrize(("name", "value", "least"), [("feather_px", -1, 0), ("side_min", 0, 1)])
def test_sizes_that_are_none_are_refused(name, value, least):
    with pytest.raises(InputError, match=f"{name} is at least {least}, not {value}"):
        Settings(**{name: value})
    assert getattr(Settings(**{name: least}), name) == least
