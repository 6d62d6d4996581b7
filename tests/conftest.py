"""Real photographs and the shipped networks, shared by all tests."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import clr_infer
from clr_infer.samples import SAMPLE

if (
    "--rehearse" in sys.argv or not torch.cuda.is_available()
):  # read when a kernel is declared: before anything imports them
    os.environ["TRITON_INTERPRET"] = "1"

IMAGES = Path(__file__).parent / "images"


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "one GPU test of each file, on the CPU where it can, its kernels interpreted"
    parser.addoption("--rehearse", action="store_true", help=text)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse ``-m gpu`` where all of it would be skipped, and choose what is rehearsed."""
    if not config.getoption("--rehearse"):
        if config.getoption("markexpr") == "gpu" and not torch.cuda.is_available():
            raise pytest.UsageError("no CUDA device here; --rehearse runs some of it on the CPU")
        return
    quick = [i for i in items if i.get_closest_marker("gpu") and not i.get_closest_marker("slow")]
    first = {item.path: item for item in reversed(quick)}
    config.hook.pytest_deselected(items=[item for item in items if item not in first.values()])
    items[:] = [item for item in items if item in first.values()]


@pytest.fixture(scope="session")
def gpu(request: pytest.FixtureRequest) -> torch.device:
    """The CUDA device of tests marked ``gpu``; in a rehearsal the CPU."""
    if request.config.getoption("--rehearse"):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return torch.device("cuda")


def _read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.fixture(scope="session")
def raccoon() -> np.ndarray:
    return _read(SAMPLE)


@pytest.fixture(scope="session")
def coffee() -> np.ndarray:
    return _read(IMAGES / "coffee.jpg")


@pytest.fixture(scope="session")
def rocket() -> np.ndarray:
    return _read(IMAGES / "rocket.jpg")


@pytest.fixture(scope="session")
def session() -> clr_infer.Session:
    return clr_infer.load("onnxruntime")


@pytest.fixture(scope="session")
def protected(session: clr_infer.Session, raccoon: np.ndarray) -> np.ndarray:
    return session.protect(raccoon).image


@pytest.fixture(scope="session")
def onnx_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of ``clr-infer export onnx`` in every precision."""
    from clr_infer.cli import main

    out = tmp_path_factory.mktemp("onnx") / "models"
    words = ["export", "onnx", "-o", str(out), "--precision", "fp32", "fp16", "bf16", "int8"]
    photos = ["--validate-on", str(IMAGES / "coffee.jpg"), "--calibration", str(IMAGES)]
    assert main([*words, *photos]) == 0
    return out


@pytest.fixture(scope="session")
def engine_folders(onnx_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of ``clr-infer export tensorrt`` from these, in every precision."""
    from clr_infer.cli import main

    out = tmp_path_factory.mktemp("engines") / "engines"
    words = ["export", "tensorrt", "-o", str(out), "--flavour", "tensorrt-rtx"]
    precisions = ["--precision", "fp32", "fp16", "bf16", "int8"]
    assert main([*words, "--from", str(onnx_folders), *precisions]) == 0
    return out
