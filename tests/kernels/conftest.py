"""How Triton kernels are tested: interpreted without a GPU, compiled on one; outputs poisoned."""

import pytest
import torch
from clr_infer.kernels.language import HAS_TRITON

_POISON = 93


@pytest.fixture(params=["interpreted", pytest.param("compiled", marks=pytest.mark.gpu)])
def triton_device(request) -> torch.device:
    """The device on which ``impl="triton"`` works here; a test that takes it runs there."""
    if not HAS_TRITON:
        pytest.skip("triton is not installed")
    if request.config.getoption("--rehearse"):
        return torch.device("cpu")
    compiled = request.param == "compiled"
    if compiled and not torch.cuda.is_available():
        pytest.skip("compiled kernels need a CUDA device")
    if not compiled and torch.cuda.is_available():
        pytest.skip("kernels are compiled on the CUDA device here")
    return torch.device("cuda" if compiled else "cpu")


@pytest.fixture(autouse=True)
def _poisoned(monkeypatch):
    """Fill fresh memory with NaN or a sentinel, so that an unwritten element cannot pass."""

    def poison(allocate):
        def fresh(*args, **kwargs):
            tensor = allocate(*args, **kwargs)
            return tensor.fill_(float("nan") if tensor.is_floating_point() else _POISON)

        return fresh

    for owner, name in ((torch, "empty"), (torch, "empty_like"), (torch.Tensor, "new_empty")):
        monkeypatch.setattr(owner, name, poison(getattr(owner, name)))
