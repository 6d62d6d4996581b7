import math

import pytest
import torch
import torch.nn.functional as F
from clr_infer.kernels import jpeg_simulate

from clr_infer.networks import Networks, place
from clr_infer.networks.blocks import GaussianBlur, cell_conv
from clr_infer.networks.fg_jpeg import FgJpegNetwork, QfPredictor
from clr_infer.networks.localize import LocalizeNetwork
from clr_infer.networks.protect import CONTRAST_RANGE, TextureMap
from clr_infer.networks.recover import _Fold, extend
from clr_infer.networks.template import codes, fine_codes, template


@pytest.fixture(scope="module")
def networks() -> Networks:
    torch.manual_seed(0)
    return Networks(64, width=16, align_width=16).eval()


@torch.no_grad()
def test_a_textured_image_takes_the_strength_asked_for(networks):
    image = torch.rand(3, 3, 64, 64)
    payload = networks.protect.payload(image)
    for psnr_db in (30.0, 38.5):
        residual = networks.protect.shape(payload, image, psnr_db)
        measured = -10 * residual.square().mean((1, 2, 3)).log10()
        torch.testing.assert_close(measured, torch.full((3,), psnr_db), rtol=0, atol=0.6)


@torch.no_grad()
def test_a_residual_of_less_than_the_template_alone_still_holds_the_payload(networks):
    image, psnr_db = torch.rand(2, 3, 64, 64), 50.0
    payload = networks.protect.payload(image)
    residual, sync = (networks.protect.shape(p, image, psnr_db) for p in (payload, 0 * payload))
    held = -10 * (residual - sync).square().mean((1, 2, 3)).log10()
    assert bool((held < psnr_db + 8.0).all())


@torch.no_grad()
def test_smooth_places_take_less(networks):
    image = torch.rand(1, 3, 64, 64)
    image[..., 32:] = 0.5  # the right half is a clear sky
    residual = networks.protect.shape(torch.randn(1, 48, 16, 16), image, 38.0)
    left, right = (half.square().mean().sqrt() for half in residual.split(32, dim=-1))
    assert float(right) < 0.6 * float(left)
    flat = torch.full((1, 3, 64, 64), 0.5)
    quiet = networks.protect.shape(torch.randn(1, 48, 16, 16), flat, 38.0)
    assert -10 * float(quiet.square().mean().log10()) > 41.0


@torch.no_grad()
def test_texture_is_the_contrast_of_luma_within_a_cell():
    image = torch.rand(1, 3, 64, 96)
    luma = torch.einsum("c,bchw->bhw", torch.tensor([0.299, 0.587, 0.114]), image)[:, None]
    energy = F.avg_pool2d((luma - GaussianBlur(1.5)(luma)).square(), 4)
    expected = (GaussianBlur(0.75)(energy) + 1e-7).sqrt() * 255.0 / 4.0
    expected = expected.clamp(*CONTRAST_RANGE)
    torch.testing.assert_close(TextureMap()(image), expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_cell_convolution_is_a_3x3_convolution_over_cells():
    over_pixels, image = cell_conv(3, 8), torch.rand(2, 3, 32, 48)
    over_cells = torch.nn.Conv2d(48, 8, 3, padding=1)
    weight = over_pixels.weight.view(8, 3, 3, 4, 3, 4).permute(0, 1, 3, 5, 2, 4)
    over_cells.weight.copy_(weight.reshape(8, 48, 3, 3))
    over_cells.bias.copy_(over_pixels.bias)
    expected = over_cells(F.pixel_unshuffle(image, 4))
    torch.testing.assert_close(over_pixels(image), expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("size", [64, 96, 160])
def test_weights_fit_every_frame_size(networks, size):
    other = Networks(size, width=16, align_width=16)
    own = {k: v for k, v in networks.state_dict().items()}
    other.load_state_dict(own)
    image = torch.rand(1, 3, size, size)
    assert other.protect(image).shape == image.shape
    aligned = other.align(image)
    box = torch.tensor([[0.1, 0.2, 0.9, 1.0]])
    recovered, uncertainty = other.recover(aligned, box)
    assert recovered.shape == image.shape
    assert uncertainty.shape == (1, 1, size // 4, size // 4)
    assert 0 < float(uncertainty.min()) and float(uncertainty.max()) <= 1
    assert float(recovered.min()) >= 0 and float(recovered.max()) <= 1


@torch.no_grad()
def test_tiles_that_repeat_agree_and_noise_shows():
    torch.manual_seed(0)
    fold, seen = _Fold(8, tiles=4), torch.zeros(1, 1, 32, 32)
    seen[..., 4:28, 8:] = 1
    tile = torch.randn(1, 8, 8, 8)

    def read(noise):
        found, tally = fold(tile.repeat(1, 1, 4, 4) + noise * torch.randn(1, 8, 32, 32), seen)
        return found, fold.disagreement(tally)

    quiet, none = read(0.0)
    assert none.shape == (1, 8, 1, 1) and float(none.max()) < 1e-3
    levels = [read(noise) for noise in (0.3, 2.0)]
    assert float((levels[0][0] - quiet).abs().mean()) < 0.3 * float(quiet.abs().mean())
    some, much = (float(found.mean()) for _, found in levels)
    assert 0.01 < some < 0.3 * much


def test_the_uncertainty_only_looks_at_the_rest(networks):
    network = Networks(64, width=16, align_width=16).recover
    _, uncertainty = network(torch.rand(1, 3, 64, 64), torch.tensor([[0.1, 0.2, 0.9, 1.0]]))
    uncertainty.sum().backward()
    moved = {name.split(".")[0] for name, p in network.named_parameters() if p.grad is not None}
    assert moved == {"uncertainty"}


def test_placing_the_full_frame_changes_nothing():
    image = torch.rand(2, 3, 64, 64)
    canvas, mask = place(image, torch.tensor([[0.0, 0.0, 1.0, 1.0]] * 2))
    torch.testing.assert_close(canvas, image, rtol=0, atol=1e-5)
    assert float(mask.min()) == 1


def test_placing_puts_the_crop_where_it_was():
    ramp = torch.linspace(0, 1, 64).view(1, 1, 1, 64).expand(1, 3, 64, 64)
    x0, x1 = 0.25, 0.75
    fragment = x0 + ramp * (x1 - x0)  # what a crop of a ramp looks like, stretched
    canvas, mask = place(fragment, torch.tensor([[x0, 0.0, x1, 1.0]]))
    inside = mask[0, 0, 0] > 0
    assert int(inside.sum()) == 32
    error = (canvas - ramp)[..., inside].abs()[..., 2:-2]
    assert float(error.max()) < 0.02
    assert float((canvas[0, :, :, 0] - x0).abs().max()) < 0.02  # edges are replicated outside


def test_the_guess_spreads_the_colours_of_the_crop():
    canvas = torch.rand(1, 3, 64, 64)
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 16:48, :32] = 1
    flat = canvas * 0 + torch.tensor([0.2, 0.5, 0.8]).view(1, 3, 1, 1)
    guess = extend(flat, mask)
    expected = torch.tensor([0.2, 0.5, 0.8]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    torch.testing.assert_close(guess[:, :3], expected, rtol=0, atol=2e-3)
    elsewhere = torch.where(mask > 0, canvas, torch.rand_like(canvas))
    torch.testing.assert_close(extend(canvas, mask), extend(elsewhere, mask))


def test_codes_are_fixed_distinct_and_of_unit_variance():
    all_codes = torch.stack(codes(512))
    torch.testing.assert_close(all_codes.std(-1), torch.ones(4), rtol=0, atol=1e-2)
    correlation = torch.corrcoef(all_codes) - torch.eye(4)
    assert float(correlation.abs().max()) < 0.15
    assert torch.equal(all_codes, torch.stack(codes(512)))
    assert not torch.equal(all_codes, torch.stack(codes(512, seed=1)))


def test_fine_codes_pass_through_the_coarse_ones():
    fine = fine_codes(128, 8)
    between = (fine[:, 3::8] + fine[:, 4::8]) / 2  # the two samples around each coarse centre
    torch.testing.assert_close(between, torch.stack(codes(128)), rtol=0, atol=0.05)


@torch.no_grad()
@pytest.mark.parametrize("seed", [0, 3])
def test_the_template_alone_is_located_to_a_fraction_of_a_pixel(seed):
    size = 256
    columns, rows = template(size, seed)
    frame = (0.5 + 4 * (columns + rows)).clamp(0, 1)
    localize = LocalizeNetwork(size, seed).eval()
    generator = torch.Generator().manual_seed(1)
    for _ in range(4):
        kept = torch.randint(150, 256, (2,), generator=generator)
        x0 = int(torch.randint(0, 257 - int(kept[0]), (1,), generator=generator))
        y0 = int(torch.randint(0, 257 - int(kept[1]), (1,), generator=generator))
        x1, y1 = x0 + int(kept[0]), y0 + int(kept[1])
        crop = frame[..., y0:y1, x0:x1]
        received = torch.nn.functional.interpolate(
            crop, size=(size, size), mode="bicubic", antialias=True
        )
        box, _, score, _ = localize(received)
        truth = torch.tensor([x0, y0, x1, y1]) / size
        assert float((box[0] - truth).abs().max()) * size < 0.25
        assert float(score) > 40  # the verdict turns near 15


@torch.no_grad()
def test_localize_is_the_same_for_a_batch_and_one_by_one():
    localize = LocalizeNetwork(128).eval()
    images = torch.rand(3, 3, 128, 128)
    together = localize(images)
    for index in range(3):
        alone = localize(images[index : index + 1])
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a[index : index + 1], b, rtol=1e-3, atol=1e-4)


def test_fg_jpeg_is_differentiable_in_image_and_quality():
    torch.manual_seed(0)
    network = FgJpegNetwork(8)
    image = torch.rand(2, 3, 32, 32, requires_grad=True)
    qf = torch.tensor([35.0, 80.5], requires_grad=True)
    out = network(image, qf, "4:2:0")
    assert out.shape == image.shape
    out.square().sum().backward()
    assert image.grad is not None and float(image.grad.abs().mean()) > 0
    assert qf.grad is not None and torch.isfinite(qf.grad).all() and float(qf.grad.abs().min()) > 0


def test_the_gradient_of_fg_jpeg_goes_straight_through():
    torch.manual_seed(0)
    network = FgJpegNetwork(8)
    ramp = torch.linspace(0.2, 0.8, 48).expand(1, 3, 48, 48)
    image = ramp + 0.02 * torch.randn(1, 3, 48, 48)
    qf, towards = torch.tensor([70.0]), torch.randn_like(image)

    def gradient(simulate) -> torch.Tensor:
        leaf = image.clone().requires_grad_()
        (simulate(leaf) * towards).sum().backward()
        return leaf.grad.flatten()

    ours = gradient(lambda leaf: network(leaf, qf))
    plain = gradient(lambda leaf: jpeg_simulate(leaf, qf))
    assert torch.cosine_similarity(ours, plain, dim=0) > 0.999
    before = network(image, qf)
    with torch.no_grad():  # the network still decides on the value
        network.luma.head.bias.add_(0.5)
    assert float((network(image, qf) - before).detach().abs().max()) > 1 / 255


def test_the_qf_predictor_gives_a_distribution():
    logits = QfPredictor(16)(torch.rand(2, 3, 32, 32))
    assert logits.shape == (2, 91)
    assert math.isclose(float(logits.detach().softmax(-1).sum()), 2.0, rel_tol=1e-5)
