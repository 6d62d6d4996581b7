"""How kernels are launched: where, with which constants, and how often one has to be compiled."""

import re
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from clr_infer.kernels import dispatch, jpeg_roundtrip
from clr_infer.kernels.aot import registry
from clr_infer.kernels.language import HAS_TRITON

from .compiled import compiled

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def recorded():
    if not HAS_TRITON:
        pytest.skip("triton is not installed")
    return compiled("-c", (HERE / "recorded.py").read_text("utf-8"))


def test_pictures_of_any_size_share_one_machine_code(recorded):
    """Else a server that gets pictures of any size waits for the compiler again and again."""
    again = {row["kernel"]: row["codes"] for row in recorded if len(row["codes"]) > 1}
    assert len(recorded) > 40 and not again


def test_what_is_compiled_ahead_is_what_is_launched(recorded):
    launched = [(row["kernel"], row["constants"], row["types"]) for row in recorded]
    for name, launch in registry().items():
        kinds = {argument: launch.types.get(argument, "") for argument in launch.kernel.arg_names}
        pointers = {argument: kind for argument, kind in kinds.items() if kind.startswith("*")}
        wanted = (launch.kernel.__name__, launch.constants, pointers)
        assert wanted in launched, name


def test_a_kernel_is_launched_where_its_tensors_are(monkeypatch):
    current, seen = [], []

    @contextmanager
    def device_of(tensor):
        current.append(tensor)
        yield
        current.pop()

    class Kernel:
        def __getitem__(self, grid):
            return lambda *arguments, **constants: seen.append(
                (grid, current[-1], arguments, constants)
            )

    monkeypatch.setattr(torch.cuda, "device_of", device_of)
    tensor = torch.zeros(1)
    dispatch.launch(Kernel(), (3, 2), tensor, 5, N=8)
    assert seen == [((3, 2), tensor, (tensor, 5), {"N": 8})] and not current


def test_nothing_else_launches_a_kernel():
    for path in (HERE.parents[1] / "kernels").glob("*.py"):
        assert not re.findall(r"_kernel\[", path.read_text("utf-8")), path.name


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_the_current_device_may_be_another():
    images = torch.randint(0, 256, (1, 3, 40, 50), dtype=torch.uint8)
    with torch.cuda.device(0):
        ours = jpeg_roundtrip(images.to("cuda:1"), 50, impl="triton")
    assert torch.equal(ours.cpu(), jpeg_roundtrip(images, 50))
