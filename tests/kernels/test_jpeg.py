"""The reference codec against libjpeg-turbo, and its gradients against its smooth twin."""

import io

import pytest
import torch
from clr_infer.kernels import jpeg_roundtrip, jpeg_simulate, quantisation_tables
from clr_infer.kernels.jpeg_checks import check_images
from clr_infer.kernels.options import SUBSAMPLING_FACTORS
from clr_infer.kernels.reference.jpeg import simulate
from clr_infer.kernels.reference.philox import philox_uniform
from PIL import Image

from .pictures import AWKWARD, KINDS, batch_of, picture, real

SUBSAMPLINGS = list(SUBSAMPLING_FACTORS)
ALL_QUALITIES = torch.arange(1.0, 101.0)


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
@pytest.mark.parametrize("kind", KINDS)
def test_roundtrip_equals_libjpeg_at_every_quality(coffee, kind, subsampling):
    image = picture(kind, 61, 83, coffee)
    ours = jpeg_roundtrip(batch_of(image, 100), ALL_QUALITIES, subsampling)
    assert torch.equal(ours, real(image, ALL_QUALITIES, subsampling))


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("shape", AWKWARD)
def test_roundtrip_equals_libjpeg_at_awkward_sizes(coffee, shape, subsampling):
    qualities = torch.tensor([3.0, 50.0, 88.0, 100.0])
    for kind in KINDS:
        image = picture(kind, *shape, coffee)
        ours = jpeg_roundtrip(batch_of(image, 4), qualities, subsampling)
        assert torch.equal(ours, real(image, qualities, subsampling)), kind


def test_a_whole_photograph_equals_libjpeg(raccoon):
    quality = torch.tensor([75.0])
    assert torch.equal(jpeg_roundtrip(batch_of(raccoon), 75), real(raccoon, quality, "4:2:0"))


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("rounding", ["hard", "ste"])
def test_simulation_is_the_real_codec_on_the_8_bit_grid(coffee, subsampling, rounding):
    pixels = batch_of(picture("photograph", 33, 50, coffee), 3)
    qualities = torch.tensor([20.0, 71.5, 95.0])
    exact = jpeg_roundtrip(pixels, qualities, subsampling) / 255.0
    for needs_grad in (False, True):
        images = (pixels / 255.0).requires_grad_(needs_grad)
        assert torch.equal(jpeg_simulate(images, qualities, subsampling, rounding), exact)


def test_off_the_8_bit_grid_the_nearest_pixels_are_coded(coffee):
    pixels = batch_of(picture("photograph", 32, 32, coffee))
    off = (pixels + 0.3 * torch.sin(torch.arange(32.0))).clamp(0, 255) / 255.0
    assert torch.equal(jpeg_simulate(off, 80), jpeg_roundtrip(pixels, 80) / 255.0)


def test_half_precision_keeps_its_type(coffee):
    pixels = batch_of(picture("photograph", 32, 32, coffee))
    half = jpeg_simulate((pixels / 255.0).bfloat16(), 80)
    assert half.dtype == torch.bfloat16
    assert (half.float() - jpeg_roundtrip(pixels, 80) / 255.0).abs().mean() < 0.01


def test_soft_rounding_stays_near_the_codec(coffee):
    pixels = batch_of(picture("photograph", 128, 128, coffee))
    for qf, least_db in ((30.0, 35.0), (75.0, 37.0), (95.0, 42.0)):
        smooth = jpeg_simulate(pixels / 255.0, qf, rounding="soft")
        error = (smooth - jpeg_roundtrip(pixels, qf) / 255.0).square().mean()
        assert float(-10 * error.log10()) > least_db


def _twin_inputs(shape):
    generator = torch.Generator().manual_seed(3)
    images = 0.35 + 0.3 * torch.rand(shape, generator=generator, dtype=torch.float64)
    tables = 2.0 + 9.0 * torch.rand((shape[0], 2, 8, 8), generator=generator, dtype=torch.float64)
    return images.requires_grad_(), tables.requires_grad_()


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("rounding", ["ste", "soft", "noise"])
def test_the_smooth_twin_passes_gradcheck(subsampling, rounding):
    images, tables = _twin_inputs((2, 3, 9, 10))

    def twin(images, tables):
        return simulate(images, tables, subsampling, rounding, seed=5, exact=False)

    assert torch.autograd.gradcheck(twin, (images, tables), fast_mode=True, atol=1e-6)


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_straight_through_gradient_is_that_of_the_twin(subsampling):
    images, tables = _twin_inputs((2, 3, 19, 21))
    weight = torch.randn(images.shape, dtype=torch.float64)
    gradients = []
    for exact in (True, False):
        out = simulate(images, tables.detach(), subsampling, "ste", exact=exact)
        gradients.append(torch.autograd.grad((out * weight).sum(), images)[0])
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-9)


def test_luma_that_the_codec_clips_has_no_gradient():
    white = torch.ones(1, 3, 16, 16).requires_grad_()
    tables = torch.full((1, 2, 8, 8), 255.0)  # brings the level of white to 128 + 127.5
    jpeg_simulate(white, None, "4:4:4", tables=tables).sum().backward()
    assert white.grad is not None and float(white.grad.sum(1).abs().max()) < 1e-6
    gray = torch.full((1, 3, 16, 16), 0.5).requires_grad_()
    jpeg_simulate(gray, None, "4:4:4", tables=tables).sum().backward()
    assert gray.grad is not None and float((gray.grad - 1).abs().max()) < 1e-5


def test_soft_rounding_has_gradients_for_quality_and_tables(coffee):
    images = batch_of(picture("photograph", 48, 48, coffee)) / 255.0
    qf = torch.tensor([55.5], requires_grad=True)
    (by_qf,) = torch.autograd.grad(jpeg_simulate(images, qf, rounding="soft").square().sum(), qf)
    tables = quantisation_tables(qf.detach()).requires_grad_()
    out = jpeg_simulate(images, None, rounding="soft", tables=tables)
    (by_tables,) = torch.autograd.grad(out.square().sum(), tables)
    smooth = qf.detach().requires_grad_()
    (expected,) = torch.autograd.grad(quantisation_tables(smooth, False), smooth, by_tables)
    assert float(by_tables.abs().max()) > 0
    torch.testing.assert_close(by_qf, expected)


def test_noise_follows_the_seed_and_is_fair():
    gray = torch.full((200, 3, 16, 16), 0.5)
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(jpeg_simulate(gray, 90, rounding="noise"))
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])
    deviation = results[0] - 128 / 255
    assert 0.001 < float(deviation.std()) < 0.1
    assert abs(float(deviation.mean())) < 1e-3


def test_random_numbers_are_those_of_philox():
    # Random123's published answer for a zero counter and a zero key begins with 0x6627e8d5.
    assert float(philox_uniform(0, torch.zeros(1, dtype=torch.int64))) == pytest.approx(
        0x6627E8D5 * 2.0**-31, abs=1e-7
    )
    many = philox_uniform(11, torch.arange(100_000))
    assert abs(float(many.mean()) - 0.5) < 0.005
    assert abs(float(many.var()) - 1 / 12) < 0.002
    assert 0.0 <= float(many.min()) and float(many.max()) < 1.0


def test_explicit_tables_replace_the_quality_factor(coffee):
    images = batch_of(picture("photograph", 64, 64, coffee), 2) / 255.0
    tables = quantisation_tables(torch.tensor([35.0]))
    for given in (tables, tables.repeat(2, 1, 1, 1)):
        by_tables = jpeg_simulate(images, None, tables=given)
        assert torch.equal(by_tables, jpeg_simulate(images, 35))


def test_a_strided_view_is_read_as_it_is(coffee):
    wide = batch_of(picture("photograph", 40, 80, coffee), 2)
    view = wide.transpose(2, 3)[..., ::2]
    assert torch.equal(jpeg_roundtrip(view, 70), jpeg_roundtrip(view.contiguous(), 70))


BAD_SIMULATE = [
    ({"images": torch.zeros(3, 8, 8)}, "images"),
    ({"images": torch.zeros(1, 1, 8, 8)}, "images"),
    ({"images": torch.zeros(0, 3, 8, 8)}, "images"),
    ({"images": torch.zeros(2, 3, 8, 8, dtype=torch.uint8)}, "images"),
    ({"images": torch.full((2, 3, 8, 8), float("nan"))}, "images"),
    ({"images": [[0.5]]}, "images"),
    ({"qf": torch.tensor([0.0])}, "qf"),
    ({"qf": 101}, "qf"),
    ({"qf": torch.tensor([float("nan")])}, "qf"),
    ({"qf": torch.tensor([50.0, 50.0, 50.0])}, "qf"),
    ({"qf": None}, "qf"),
    ({"subsampling": "4:1:1"}, "subsampling"),
    ({"rounding": "odd"}, "rounding"),
    ({"tables": torch.ones(2, 8, 8)}, "tables"),
    ({"tables": torch.zeros(1, 2, 8, 8)}, "tables"),
    ({"tables": torch.ones(3, 2, 8, 8)}, "tables"),
]


@pytest.mark.parametrize(("change", "word"), BAD_SIMULATE)
def test_bad_arguments_are_named(change, word):
    arguments = {"images": torch.zeros(2, 3, 8, 8), "qf": torch.tensor([50.0]), **change}
    with pytest.raises(ValueError, match=word):
        jpeg_simulate(**arguments)


@pytest.mark.parametrize(
    ("height", "width", "subsampling"),
    [(2**15, 2**15, "4:4:4"), (1, 44_739_233, "4:2:0"), (44_739_241, 1, "4:4:4")],
)
def test_more_than_kernels_can_count_is_refused(height, width, subsampling):
    """Padding counts: a row is coded as sixteen."""
    for dtype, coded in ((torch.uint8, jpeg_roundtrip), (torch.float32, jpeg_simulate)):
        images = torch.zeros(1, 3, height, width, dtype=dtype, device="meta")
        with pytest.raises(ValueError, match="images are too large"):
            coded(images, 50, subsampling)


def test_as_much_as_kernels_can_count_is_accepted():
    check_images(torch.empty(9, 3, 1, 44_739_232, device="meta"), "4:2:0")
    check_images(torch.empty(9, 3, 1, 89_478_480, device="meta"), "4:2:2")


def test_the_round_trip_wants_8_bit_pixels():
    with pytest.raises(ValueError, match="uint8"):
        jpeg_roundtrip(torch.zeros(1, 3, 8, 8), 50)
    with pytest.raises(ValueError, match="qf"):
        jpeg_roundtrip(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), 0)
