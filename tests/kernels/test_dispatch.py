import logging
import subprocess
import sys

import pytest
import torch
from clr_infer.kernels import dispatch
from clr_infer.kernels.dispatch import KernelUnavailable, resolve


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch):
    monkeypatch.setattr(dispatch, "_said", set())


@pytest.fixture
def without_triton(monkeypatch):
    monkeypatch.setattr(dispatch, "HAS_TRITON", False)


@pytest.fixture
def compiling(monkeypatch):
    monkeypatch.setattr(dispatch, "HAS_TRITON", True)
    monkeypatch.setattr(dispatch, "_interpreting", lambda: False)


def test_torch_works_everywhere(without_triton):
    assert resolve("place", "torch", "cpu") == resolve("place", "torch", "cuda") == "torch"


def test_auto_takes_triton_for_cuda_tensors(compiling, caplog):
    assert resolve("place", "auto", torch.device("cuda", 0)) == "triton"
    assert not caplog.records


def test_auto_falls_back_and_says_so_once(compiling, caplog):
    caplog.set_level(logging.INFO)
    for op in ("place", "place", "composite"):
        assert resolve(op, "auto", "cpu") == "torch"
    assert [r.getMessage().split(":")[0] for r in caplog.records] == ["place", "composite"]


def test_auto_warns_when_triton_is_missing_on_a_gpu(without_triton, caplog):
    assert resolve("place", "auto", "cuda") == "torch"
    assert "triton is not installed" in caplog.text and caplog.records[0].levelname == "WARNING"


def test_an_explicit_choice_that_cannot_be_met_says_what_to_do(compiling, monkeypatch):
    with pytest.raises(KernelUnavailable, match=r"place.*CUDA device.*cpu"):
        resolve("place", "triton", torch.device("cpu"))
    assert resolve("place", "triton", "cuda") == "triton"
    monkeypatch.setattr(dispatch, "HAS_TRITON", False)
    with pytest.raises(KernelUnavailable, match="pip install"):
        resolve("place", "triton", "cuda")


def test_explicit_triton_is_met_where_the_kernels_can_run(triton_device):
    assert resolve("place", "triton", triton_device) == "triton"


def test_there_is_no_other_implementation():
    with pytest.raises(ValueError, match="impl"):
        resolve("place", "cuda", "cpu")


def test_everything_imports_without_triton():
    code = """
import sys
sys.modules["triton"] = None
import clr_infer.kernels
from clr_infer.kernels.dispatch import resolve
from clr_infer.kernels.language import HAS_TRITON
assert not HAS_TRITON and resolve("place", "auto", "cpu") == "torch"
"""
    subprocess.run([sys.executable, "-c", code], check=True)
