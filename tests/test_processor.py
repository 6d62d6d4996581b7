"""What a processor says of itself, read from what the system says."""

import pytest

from clr_infer import processor


@pytest.fixture
def described(monkeypatch):
    def of(**lines: str) -> None:
        monkeypatch.setattr(processor, "_described", lambda: lines)

    return of


@pytest.mark.parametrize(
    ("flags", "int8", "bfloat16"),
    [
        ("sse avx512_vnni", True, False),
        ("avx_vnni avx512_bf16", True, True),
        ("amx_bf16", False, True),
        ("avx2 bf16", False, False),
    ],
)
def test_what_it_multiplies_is_told_by_its_flags(described, flags, int8, bfloat16):
    described(flags=flags)
    assert processor.multiplies_int8() == int8
    assert processor.multiplies_bfloat16() == bfloat16


def test_where_nothing_is_said_it_multiplies_neither_and_has_a_name(described):
    described()
    assert not processor.multiplies_int8() and not processor.multiplies_bfloat16()
    assert processor.processor_name()
    described(**{"model name": "A processor"})
    assert processor.processor_name() == "A processor"


def test_this_computer_is_read():
    with open("/proc/cpuinfo", encoding="utf-8") as stream:
        lines = stream.read().splitlines()
    described = processor._described()
    assert described and all(
        any(line.startswith(name) and line.endswith(value) for line in lines)
        for name, value in described.items()
    )
