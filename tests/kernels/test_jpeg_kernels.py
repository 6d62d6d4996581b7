"""The codec's Triton kernels against libjpeg-turbo and against their reference."""

import dataclasses

import pytest
import torch
from clr_infer.kernels import jpeg, jpeg_roundtrip, jpeg_simulate, quantisation_tables
from clr_infer.kernels.jpeg_tables import scaled_tables
from clr_infer.kernels.options import SUBSAMPLING_FACTORS

from .pictures import AWKWARD, KINDS, batch_of, picture, real

SUBSAMPLINGS = list(SUBSAMPLING_FACTORS)
TOLERANCES = {
    # (what, rounding): largest difference to the reference; an exact codec has no tolerance
    ("values", "ste"): 0.0,
    ("values", "soft"): 1e-6,
    ("values", "noise"): 1e-6,
    ("gradients", "ste"): 2e-6,  # sums of up to 16 pixels in another order
    ("gradients", "soft"): 2e-6,
    ("gradients", "noise"): 2e-6,
}


@pytest.fixture(autouse=True)
def _few_large_programs(monkeypatch, triton_device):
    """The interpreter's time goes by programs and operations, not by the threads in them."""
    if triton_device.type == "cuda":
        return
    from triton.runtime import interpreter

    builder = interpreter.interpreter_builder
    unchecked = dataclasses.replace(builder.options, sanitize_overflow=False)
    monkeypatch.setattr(builder, "options", unchecked)
    monkeypatch.setattr(jpeg, "_threads", lambda mcus: 512)


def _mosaic(photograph):
    """All kinds of pictures side by side, 40x120."""
    return torch.cat([batch_of(picture(kind, 40, 24, photograph)) for kind in KINDS], dim=3)


def test_the_tables_of_any_quality_equal_their_reference(triton_device):
    between = torch.rand(400, generator=torch.Generator().manual_seed(0)) * 99.0 + 1.0
    whole = torch.arange(1.0, 101.0)
    for quality in (whole, between, torch.tensor([1.0, 49.999996, 50.0, 99.99999])):
        tables, valid = scaled_tables(quality.to(triton_device), len(quality))
        assert torch.equal(tables.cpu(), quantisation_tables(quality)) and valid.all()
    tables, valid = scaled_tables(torch.tensor([37.5], device=triton_device), 3)
    assert torch.equal(tables.cpu(), quantisation_tables(torch.tensor([37.5] * 3)))
    for wrong in (0.99, 100.01, float("nan"), float("inf")):
        quality = torch.tensor([50.0, wrong], device=triton_device)
        assert scaled_tables(quality, 2)[1].tolist() == [True, False]


def test_float64_images_have_tables_of_float64(coffee, triton_device):
    images = batch_of(picture("photograph", 16, 32, coffee)).to(triton_device).double() / 255.0
    ours, theirs = (
        (255.0 * jpeg_simulate(images, 50.0 - 1e-9, rounding="hard", impl=impl)).round()
        for impl in ("triton", "torch")
    )
    assert torch.equal(ours, theirs)


def test_a_wrong_quality_is_refused_before_anything_runs(coffee, triton_device):
    images = batch_of(picture("photograph", 16, 16, coffee), 2).to(triton_device)
    for qf in (0.5, 101, torch.tensor([50.0, float("nan")])):
        with pytest.raises(ValueError, match="between 1 and 100"):
            jpeg_roundtrip(images, qf, impl="triton")
    with pytest.raises(ValueError, match="3 values for a batch of 2"):
        jpeg_roundtrip(images, torch.tensor([50.0, 60.0, 70.0]), impl="triton")


@pytest.mark.slow
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_every_quality_equals_libjpeg(coffee, triton_device, subsampling):
    qualities = torch.arange(1.0, 101.0)
    image = _mosaic(coffee)
    expected = real(image[0].permute(1, 2, 0).numpy(), qualities, subsampling)
    images = image.repeat(100, 1, 1, 1).to(triton_device)
    ours = jpeg_roundtrip(images, qualities, subsampling, impl="triton")
    assert torch.equal(ours.cpu(), expected)


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("shape", AWKWARD)
def test_awkward_sizes_equal_libjpeg(coffee, triton_device, shape, subsampling):
    image = picture("photograph", *shape, coffee)
    qualities = torch.tensor([12.0, 60.0, 100.0])
    images = batch_of(image, 3).to(triton_device)
    ours = jpeg_roundtrip(images, qualities, subsampling, impl="triton")
    assert torch.equal(ours.cpu(), real(image, qualities, subsampling))


def test_small_programs_and_overflow(coffee, triton_device, monkeypatch):
    """As they are launched for few images; the interpreter checks that no int32 overflows."""
    monkeypatch.undo()
    for kind in ("saturated", "photograph"):
        image = picture(kind, 16, 64, coffee)
        for qf in (1.0, 100.0):
            images = batch_of(image).to(triton_device)
            ours = jpeg_roundtrip(images, qf, "4:2:0", impl="triton")
            assert torch.equal(ours.cpu(), real(image, torch.tensor([qf]), "4:2:0"))


def _simulated(images, qf, subsampling, rounding, impl, weight):
    """The result, and the gradients of images and qf."""
    images, qf = images.clone().requires_grad_(), qf.clone().requires_grad_()
    torch.manual_seed(4)  # of the noise
    out = jpeg_simulate(images, qf, subsampling, rounding, impl=impl)
    (out * weight).sum().backward()
    return out.detach(), images.grad, qf.grad


def _assert_equal_to_reference(images, qf, subsampling, rounding):
    weight = torch.sin(torch.arange(float(images.numel()))).view(images.shape).to(images.device)
    theirs = _simulated(images, qf, subsampling, rounding, "torch", weight)
    ours = _simulated(images, qf, subsampling, rounding, "triton", weight)
    for what, a, b in zip(("values", "gradients"), ours[:2], theirs[:2], strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=TOLERANCES[what, rounding])
    assert (ours[2] is None) == (theirs[2] is None) == (rounding != "soft")
    if rounding == "soft":
        torch.testing.assert_close(ours[2], theirs[2], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("rounding", ["ste", "soft", "noise"])
def test_simulation_and_gradients_are_the_references(coffee, triton_device, rounding, subsampling):
    """Per-sample QF, sizes that are no multiples of anything, and a view that is not contiguous."""
    pixels = torch.cat([batch_of(picture(k, 50, 34, coffee)) for k in ("photograph", "noise")])
    images = pixels.to(triton_device)[..., ::2, :] / 255.0
    qf = torch.tensor([30.0, 92.5], device=triton_device)
    _assert_equal_to_reference(images, qf, subsampling, rounding)


@pytest.mark.parametrize("shape", AWKWARD)
def test_gradients_at_awkward_sizes(coffee, triton_device, shape):
    images = batch_of(picture("photograph", *shape, coffee)).to(triton_device) / 255.0
    qf = torch.tensor([77.0], device=triton_device)
    _assert_equal_to_reference(images, qf, "4:2:0", "ste")


@pytest.mark.parametrize("shape", [(1, 1), (7, 9), (18, 24)])
def test_soft_gradients_at_awkward_sizes(coffee, triton_device, shape):
    images = batch_of(picture("photograph", *shape, coffee)).to(triton_device) / 255.0
    qf = torch.tensor([77.0], device=triton_device)
    _assert_equal_to_reference(images, qf, "4:2:0", "soft")


def test_table_gradients_are_the_references(coffee, triton_device):
    images = batch_of(picture("photograph", 32, 48, coffee), 2).to(triton_device) / 255.0
    generator = torch.Generator().manual_seed(1)
    tables = 3.0 + 40.0 * torch.rand((2, 2, 8, 8), generator=generator)
    gradients = []
    for impl in ("torch", "triton"):
        leaf = tables.to(triton_device).requires_grad_()
        out = jpeg_simulate(images, None, rounding="soft", impl=impl, tables=leaf)
        gradients.append(torch.autograd.grad(out.square().sum(), leaf)[0])
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(coffee, triton_device, dtype):
    images = (batch_of(picture("photograph", 32, 32, coffee)) / 255.0).to(triton_device, dtype)
    ours = jpeg_simulate(images, 80, "4:4:4", impl="triton")
    theirs = jpeg_simulate(images, 80, "4:4:4", impl="torch")
    assert ours.dtype == dtype
    truncates = dtype == torch.bfloat16 and triton_device.type == "cpu"  # Triton's interpreter
    torch.testing.assert_close(ours, theirs, rtol=2**-7 if truncates else 0, atol=0)


def test_hard_rounding_has_no_gradient(coffee, triton_device):
    pixels = batch_of(picture("photograph", 16, 16, coffee)).to(triton_device)
    out = jpeg_simulate((pixels / 255.0).requires_grad_(), 50, rounding="hard", impl="triton")
    assert not out.requires_grad
    assert torch.equal(out.cpu(), jpeg_roundtrip(pixels, 50, impl="torch").cpu() / 255.0)


@pytest.mark.parametrize(("rounding", "power"), [("ste", 2), ("soft", 2), ("soft", 1)])
def test_gradients_have_no_gradient_of_their_own(coffee, triton_device, rounding, power):
    """Nor are they taken for constants, not even where only the images are asked for them."""
    pixels = batch_of(picture("photograph", 16, 16, coffee)).to(triton_device)
    images = (pixels / 255.0).requires_grad_()
    out = jpeg_simulate(images, 50, rounding=rounding, impl="triton").pow(power).sum()
    (gradient,) = torch.autograd.grad(out, images, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        (gradient.square().sum() + images.square().sum()).backward()


def test_a_pixel_that_is_no_number_counts_as_black(triton_device):
    """On a GPU values are not read back to be refused."""
    if triton_device.type == "cpu":
        with pytest.raises(ValueError, match="images"):
            jpeg_simulate(torch.full((1, 3, 8, 8), float("nan")), 50, impl="triton")
        return
    black = torch.zeros(1, 3, 16, 16, device=triton_device)
    broken = torch.full_like(black, float("nan"))
    assert torch.equal(jpeg_simulate(broken, 50), jpeg_simulate(black, 50))
