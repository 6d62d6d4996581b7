import io

import numpy as np
import pytest
import torch
from clr_infer.kernels import jpeg_simulate, quantisation_tables
from clr_infer.kernels.reference.jpeg import SUBSAMPLING_FACTORS
from PIL import Image

from clr_infer.attacks.real import libjpeg

SUBSAMPLINGS = list(SUBSAMPLING_FACTORS)


def _tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255.0


def _psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    return -10 * float((a - b).square().mean().clamp(min=1e-10).log10())


def test_tables_equal_those_that_libjpeg_writes():
    for qf in range(1, 101):
        buffer = io.BytesIO()
        Image.new("RGB", (16, 16)).save(buffer, "JPEG", quality=qf)
        written = Image.open(buffer).quantization
        ours = quantisation_tables(torch.tensor([float(qf)]))[0]
        for index in (0, 1):
            # Pillow hands the tables out in natural order
            assert ours[index].flatten().int().tolist() == list(written[index]), (qf, index)


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("qf", [10, 50, 75, 90, 95, 100])
def test_forward_is_close_to_libjpeg_on_photographs(coffee, subsampling, qf):
    part = coffee[40:249, 60:333]  # odd sizes: padding and edges count
    real = _tensor(libjpeg(part, qf, subsampling))
    ours = jpeg_simulate(_tensor(part), torch.tensor([float(qf)]), subsampling)
    assert _psnr(ours, real) > 48.0


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("shape", [(1, 1), (7, 9), (33, 33), (17, 50), (16, 16)])
def test_awkward_sizes(subsampling, shape):
    rng = np.random.default_rng(0)
    smooth = np.linspace(40, 200, shape[0] * shape[1]).reshape(*shape, 1).repeat(3, 2)
    pixels = np.clip(smooth + rng.normal(0, 3, smooth.shape), 0, 255).astype(np.uint8)
    real = _tensor(libjpeg(pixels, 80, subsampling))
    ours = jpeg_simulate(_tensor(pixels), torch.tensor([80.0]), subsampling)
    assert ours.shape == real.shape
    assert _psnr(ours, real) > 42.0


def test_each_sample_has_its_own_quality(coffee):
    batch = _tensor(coffee[:64, :64]).repeat(2, 1, 1, 1)
    both = jpeg_simulate(batch, torch.tensor([20.0, 90.0]))
    for index, qf in enumerate((20.0, 90.0)):
        alone = jpeg_simulate(batch[:1], torch.tensor([qf]))
        assert torch.equal(both[index : index + 1], alone)
    assert not torch.equal(both[0], both[1])


def test_straight_through_gradient_reaches_every_pixel(coffee):
    image = _tensor(coffee[:32, :32]).requires_grad_()
    jpeg_simulate(image, torch.tensor([80.0]), "4:4:4").square().sum().backward()
    assert image.grad is not None
    assert float((image.grad.abs() > 0).float().mean()) > 0.95


def test_soft_rounding_has_a_gradient_for_the_quality_factor(coffee):
    qf = torch.tensor([55.5], requires_grad=True)
    jpeg_simulate(_tensor(coffee[:64, :64]), qf, rounding="soft").square().sum().backward()
    assert qf.grad is not None and torch.isfinite(qf.grad).all() and float(qf.grad.abs()) > 0


def test_explicit_tables_replace_the_quality_factor(coffee):
    image = _tensor(coffee[:64, :64])
    tables = quantisation_tables(torch.tensor([35.0]))
    by_tables = jpeg_simulate(image, torch.tensor([90.0]), tables=tables)
    assert torch.equal(by_tables, jpeg_simulate(image, torch.tensor([35.0])))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"images": torch.zeros(3, 8, 8)}, "images"),
        ({"images": torch.zeros(1, 1, 8, 8)}, "images"),
        ({"images": torch.zeros(0, 3, 8, 8)}, "images"),
        ({"qf": torch.tensor([0.0])}, "qf"),
        ({"qf": torch.tensor([101.0])}, "qf"),
        ({"qf": torch.tensor([float("nan")])}, "qf"),
        ({"qf": torch.tensor([50.0, 50.0, 50.0])}, "qf"),
        ({"subsampling": "4:1:1"}, "subsampling"),
        ({"rounding": "odd"}, "rounding"),
    ],
)
def test_bad_arguments_are_named(change, word):
    arguments = {"images": torch.zeros(2, 3, 8, 8), "qf": torch.tensor([50.0]), **change}
    with pytest.raises(ValueError, match=word):
        jpeg_simulate(**arguments)
