"""docs/reference.md names what the code has: nothing is missing, nothing is made up."""

import dataclasses
import re
import tomllib
from pathlib import Path

from clr_infer import errors
from clr_infer.image_io import READ_SUFFIXES
from clr_infer.results import Located, Recovered
from clr_infer.settings import Settings

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "reference.md").read_text("utf-8")
NAMED = set(re.findall(r"`([^`]+)`", PAGE))
NOTHING = Located(False, 0.0, None, None, None, None)


def _row(name: str) -> list[str]:
    (row,) = (line for line in PAGE.splitlines() if line.startswith("|") and f"`{name}`" in line)
    return [cell.strip() for cell in row.split("|")[1:-1]]


def test_every_setting_with_its_default():
    defaults = {"copy_key": "none", "max_file_bytes": "512 MiB", "max_pixels": "64,000,000"}
    for field in dataclasses.fields(Settings):
        name, default, _ = _row(field.name)
        assert name == f"`{field.name}`"
        assert default == defaults.get(field.name, str(field.default).removesuffix(".0"))
    assert Settings.max_file_bytes == 512 * 2**20 and Settings.max_pixels == 64_000_000


def test_every_error_beside_its_exit_code():
    for name in set(errors.__all__) - {"ClrError"}:
        assert _row(name)[1] == str(getattr(errors, name).exit_code), name


def test_every_field_of_the_results():
    assert set(Recovered(None, NOTHING).as_dict()) <= NAMED


def test_every_suffix_and_variable():
    assert all(suffix in PAGE for suffix in READ_SUFFIXES)
    sources = [path.read_text("utf-8") for path in (ROOT / "clr_infer").rglob("*.py")]
    read = {name for text in sources for name in re.findall(r'"(CLR_INFER_[A-Z_]+)"', text)}
    assert read and read <= NAMED


def test_every_extra_is_on_the_first_page():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lists = re.findall(r'"\.\[([a-z,-]+)\]"', (ROOT / "README.md").read_text("utf-8"))
    told = {extra for one in lists for extra in one.split(",")}
    assert told <= set(project["optional-dependencies"])
    assert set(project["optional-dependencies"]) - told == {"dev", "tensorrt"}
