"""Residual merge against the CPU pipeline: equal but for ties in the rounding."""

import numpy as np
import pytest
import torch
from clr_infer.kernels import reference, residual_merge
from clr_infer.kernels.filters import bilinear, bilinear_gram

from clr_infer.residual import merge_residual

FLIPS_MAX = 1e-4  # share of values whose exact sum lies so near a half that its rounding differs
PSNR_DB_ATOL = 1e-3
SIZES = [(1, 1), (7, 9), (33, 33), (17, 250), (40, 64), (64, 40)]


def _input(height: int, width: int, size: int = 64, seed: int = 0):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    residual = rng.normal(0, 0.01, (3, size, size)).astype(np.float32)
    return image, residual


def _assert_merged(ours, theirs) -> None:
    merged, expected = (np.asarray(image[0]).astype(int) for image in (ours, theirs))
    difference = np.abs(merged - expected)
    assert difference.max() <= 1
    assert np.count_nonzero(difference) <= np.ceil(FLIPS_MAX * difference.size)
    assert ours[1] == pytest.approx(theirs[1], abs=PSNR_DB_ATOL)


@pytest.mark.parametrize("psnr_db", [30.0, 40.0])
@pytest.mark.parametrize("size", [*SIZES, (300, 45), (700, 900)])
def test_reference_is_the_cpu_pipeline(size, psnr_db):
    image, residual = _input(*size)
    ours = reference.residual_merge(torch.from_numpy(image), torch.from_numpy(residual), psnr_db)
    _assert_merged(ours, merge_residual(image, residual, psnr_db))


@pytest.mark.parametrize("frame", [1, 33])
@pytest.mark.parametrize("size", SIZES)
def test_kernel_equals_its_reference(size, frame, triton_device):
    image, residual = (torch.from_numpy(x) for x in _input(*size, frame))
    merged, psnr_db = residual_merge(
        image.to(triton_device), residual.to(triton_device), 36.0, "triton"
    )
    _assert_merged((merged.cpu(), psnr_db), reference.residual_merge(image, residual, 36.0))


def test_kernel_merges_a_photograph_as_the_cpu_pipeline_does(coffee, triton_device):
    part = np.ascontiguousarray(coffee[100:140, 200:300])
    _, residual = _input(1, 1, 48)
    tensors = (torch.from_numpy(x).to(triton_device) for x in (part, residual))
    merged, psnr_db = residual_merge(*tensors, 38.0, "triton")
    _assert_merged((merged.cpu(), psnr_db), merge_residual(part, residual, 38.0))


def test_kernel_is_deterministic_and_takes_any_memory_order(triton_device):
    image, residual = (torch.from_numpy(x).to(triton_device) for x in _input(20, 30, 32))
    first = residual_merge(image, residual, 36.0, "triton")
    turned = image.transpose(0, 1).contiguous().transpose(0, 1)
    mirrored = residual.transpose(1, 2).contiguous().transpose(1, 2)
    assert not turned.is_contiguous() and not mirrored.is_contiguous()
    again = residual_merge(turned, mirrored, 36.0, "triton")
    assert torch.equal(first[0], again[0]) and first[1] == again[1]


@pytest.mark.parametrize(("length_in", "length_out"), [(64, 200), (64, 64), (64, 40), (33, 5)])
def test_gram_band_holds_the_power_of_a_resized_row(length_in, length_out):
    device = torch.device("cpu")
    starts, weights = bilinear(length_in, length_out, device, torch.float64)
    row = torch.from_numpy(np.random.default_rng(0).normal(size=length_in))
    resized = torch.zeros(length_out, dtype=torch.float64)
    for tap, weight in enumerate(weights):
        resized += weight * row[(starts.long() + tap).clamp(max=length_in - 1)]
    band = bilinear_gram(length_in, length_out, device)
    reach = len(band) // 2
    padded = torch.nn.functional.pad(row, (reach, reach))
    power = sum((row * padded[d : d + length_in] * band[d]).sum() for d in range(len(band)))
    assert float(power) == pytest.approx(float(resized.square().sum()), rel=1e-6)


def test_clipping_counts_in_the_measured_psnr(triton_device):
    image = torch.full((20, 30, 3), 255, dtype=torch.uint8, device=triton_device)
    residual = torch.from_numpy(_input(1, 1, 32)[1]).to(triton_device)
    for impl in ("torch", "triton"):
        merged, psnr_db = residual_merge(image, residual, 36.0, impl)
        mse = float((merged.double() - 255).square().mean())
        assert psnr_db == pytest.approx(10 * np.log10(255**2 / mse), abs=1e-6)
        assert psnr_db > 37.5


@pytest.mark.filterwarnings("ignore:invalid value")  # of the interpreter, on the way to the error
@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_a_residual_must_be_finite_and_not_zero(value, triton_device):
    image, residual = (torch.from_numpy(x).to(triton_device) for x in _input(8, 6, 16))
    if value is None:
        residual.zero_()
    else:
        residual[1, 5, 7] = value
    for impl in ("torch", "triton"):
        with pytest.raises(ValueError, match="residual"):
            residual_merge(image, residual, 36.0, impl)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"image": torch.zeros(8, 8, 3)}, "image"),
        ({"image": torch.zeros(1, 8, 8, 3, dtype=torch.uint8)}, "image"),
        ({"image": torch.zeros(8, 8, 1, dtype=torch.uint8)}, "image"),
        ({"image": torch.zeros(0, 8, 3, dtype=torch.uint8)}, "image"),
        ({"image": torch.zeros(1, 1, 1, dtype=torch.uint8).expand(30_000, 30_000, 3)}, "image has"),
        ({"residual": torch.ones(3, 16, 16, dtype=torch.float16)}, "residual"),
        ({"residual": torch.ones(16, 16)}, "residual"),
        ({"residual": torch.ones(3, 16, 8)}, "residual"),
        ({"residual": torch.ones(3, 16, 16, device="meta")}, "residual is on meta"),
        ({"psnr_db": float("nan")}, "psnr_db"),
        ({"impl": "cuda"}, "impl"),
    ],
)
def test_bad_arguments_are_named(change, word):
    arguments = {
        "image": torch.zeros(8, 8, 3, dtype=torch.uint8),
        "residual": torch.ones(3, 16, 16),
        "psnr_db": 36.0,
        **change,
    }
    with pytest.raises(ValueError, match=word):
        residual_merge(**arguments)
