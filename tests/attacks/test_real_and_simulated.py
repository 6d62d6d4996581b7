"""Beside each simulated operation stands the real one, and they agree."""

import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from clr_infer.attacks import real, simulate
from clr_infer.attacks.curriculum import draw_alike, draw_attack, draw_crop, draw_halved
from clr_infer.attacks.median import median_filter
from clr_infer.attacks.simulate import JpegModel
from clr_infer.attacks.steps import parse_chain
from clr_infer.errors import InputError


def _tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255.0


def _pixels(image: torch.Tensor) -> np.ndarray:
    return (image[0] * 255).round().byte().permute(1, 2, 0).numpy()


def _both(pixels: np.ndarray, text: str) -> tuple[np.ndarray, np.ndarray]:
    chain = parse_chain(text)
    ours = simulate.apply(_tensor(pixels), [chain], np.random.default_rng(3), JpegModel())
    return real.apply(pixels, chain, np.random.default_rng(3)), _pixels(ours)


@pytest.mark.parametrize(
    ("text", "mean_max", "largest"),
    [
        ("crop=0.1,0.2,0.8,0.9", 0, 0),
        ("gaussian=3", 0.1, 1),
        ("gaussian=5", 0.1, 1),
        ("median=3", 0, 0),
        ("median=5", 0, 0),
        ("tone=0.05,1.1", 0.02, 1),
        ("resize=0.5", 0.5, 6),  # Pillow rounds to 8 bits between the axes
        ("resize=1.5", 0.5, 6),
        ("jpeg=80", 0, 0),
        ("jpeg=50@4:4:4", 0, 0),
    ],
)
def test_simulation_equals_reality(coffee, text, mean_max, largest):
    theirs, ours = _both(coffee[:200, :301], text)
    assert theirs.shape == ours.shape
    difference = np.abs(theirs.astype(int) - ours)
    assert difference.mean() <= mean_max
    assert difference.max() <= largest


def test_what_is_reduced_to_nothing_keeps_a_pixel(coffee):
    for part in (coffee[:8, :200], coffee[:200, :8]):
        theirs, ours = _both(part, "resize=0.05")
        assert theirs.shape == ours.shape and sorted(ours.shape[:2]) == [1, 10]


@pytest.mark.parametrize("kind", ["jpeg", "webp", "avif"])
def test_real_codecs_lose_the_more_the_lower_the_quality(coffee, kind):
    pixels = coffee[:200, :301]
    errors = []
    for quality in (90, 60, 20):
        coded = real.apply(pixels, parse_chain(f"{kind}={quality}"), np.random.default_rng(0))
        assert coded.shape == pixels.shape and coded.dtype == np.uint8
        errors.append(np.abs(coded.astype(int) - pixels).mean())
    assert 0 < errors[0] < errors[1] < errors[2] < 12


@pytest.mark.parametrize("share", [0.0, 0.1, 0.33, 1.0])
def test_an_occlusion_covers_its_share(coffee, share):
    pixels = np.maximum(coffee[:200, :300], 1)
    before = pixels.copy()
    occluded = real.apply(pixels, parse_chain(f"occlude={share}"), np.random.default_rng(0))
    black = (occluded == 0).all(2)
    assert abs(black.mean() - share) < 0.01
    assert np.array_equal(occluded[~black], pixels[~black])
    assert np.array_equal(pixels, before)


def test_noise_has_the_strength_it_says(coffee):
    for image in _both(np.full((200, 200, 3), 128, np.uint8), "noise=0.04"):
        assert abs(image.std() / 255 - 0.04) < 0.002
        between = np.corrcoef(image.reshape(-1, 3).T) - np.eye(3)
        assert np.abs(between).max() < 0.05  # each channel has its own


def test_a_simulated_codec_has_real_values_and_a_gradient(coffee):
    image = _tensor(coffee[:64, :96]).requires_grad_()
    rng = np.random.default_rng(0)
    coded = simulate.apply(image, [parse_chain("jpeg=60")], rng, JpegModel())
    assert np.array_equal(_pixels(coded.detach()), real.libjpeg(coffee[:64, :96], 60))
    coded.square().sum().backward()
    assert image.grad is not None and float(image.grad.abs().mean()) > 0


def test_a_surrogate_comes_close_to_the_codec_and_is_not_it(coffee):
    rng = np.random.default_rng(0)
    chains = [parse_chain("jpeg=60")]
    image = _tensor(coffee[:64, :96])
    exact, soft = (simulate.apply(image, chains, rng, m) for m in (JpegModel(), JpegModel("soft")))
    assert 0 < float((exact - soft).abs().mean()) < 3 / 255


def test_a_batch_is_attacked_as_its_images_are_alone(coffee, raccoon):
    """Each image has its own crop, quality and contrast; what sets shapes is the first one's."""
    images = torch.cat([_tensor(p[:96, :120]) for p in (coffee, raccoon)])
    texts = (
        "crop=0.1,0.125,0.7,0.75 jpeg=80@4:2:2 resize=0.8 gaussian=3 tone=0.02,1.1 jpeg=55",
        "crop=0.3,0.25,0.9,0.875 jpeg=91@4:2:2 resize=0.8 gaussian=3 tone=-0.03,0.9 jpeg=77",
    )
    chains = [parse_chain(text) for text in texts]
    rng = np.random.default_rng(0)
    together = simulate.apply(images, chains, rng, JpegModel())
    for image, chain, ours in zip(images, chains, together, strict=True):
        alone = simulate.apply(image[None], [chain], rng, JpegModel())
        assert ours.shape == alone[0].shape
        assert float((ours != alone[0]).float().mean()) < 0.01  # ties in the filters' sums


def test_crops_that_round_to_other_sizes_stay_in_the_image(coffee):
    """The first box is 61 pixels wide, the second 60, and ends where the image does."""
    images = torch.cat([_tensor(coffee[:80, :101]), _tensor(coffee[100:180, :101])])
    texts = (f"crop={0.4 / 101},0.1,{60.8 / 101},0.9", f"crop={40.6 / 101},0.1,1,0.9")
    chains = [parse_chain(text) for text in texts]
    cut = simulate.apply(images, chains, np.random.default_rng(0), JpegModel())
    assert torch.equal(cut[0], images[0, :, 8:72, :61])
    assert torch.equal(cut[1], images[1, :, 8:72, 40:])
    texts = (f"crop=0.1,{0.4 / 101},0.9,{60.8 / 101}", f"crop=0.1,{40.6 / 101},0.9,1")
    chains = [parse_chain(text) for text in texts]
    lying = images.mT.contiguous()
    assert torch.equal(simulate.apply(lying, chains, np.random.default_rng(0), JpegModel()).mT, cut)


def test_chains_of_different_steps_are_refused(coffee):
    images = _tensor(coffee[:32, :32]).expand(2, -1, -1, -1)
    chains = [parse_chain("jpeg=80"), parse_chain("gaussian=3")]
    with pytest.raises(ValueError, match="same steps"):
        simulate.apply(images, chains, np.random.default_rng(0), JpegModel())


def test_attacks_alike_share_shapes_and_nothing_else():
    rng = np.random.default_rng(0)
    kinds = set()
    for _ in range(120):
        first, *others = draw_alike(rng, 1.0, 4)
        assert len(others) == 3
        for other in others:
            for a, b in zip(first.before + first.after, other.before + other.after, strict=True):
                assert (a.name, a.subsampling) == (b.name, b.subsampling)
                kinds.add((a.name, a.values == b.values))
            x0, y0, x1, y1 = other.crop.values
            assert 0 <= x0 < x1 <= 1 + 1e-9 and 0 <= y0 < y1 <= 1 + 1e-9
            a0, b0, a1, b1 = first.crop.values
            assert (x1 - x0, y1 - y0) == pytest.approx((a1 - a0, b1 - b0))
    fixed = {name for name, same in kinds if same}
    assert {"resize", "gaussian", "median"} <= fixed
    assert {("noise", False), ("tone", False), ("jpeg", False)} <= kinds
    assert ("noise", True) not in kinds and ("tone", True) not in kinds


def test_libjpeg_is_what_pillow_writes(coffee):
    buffer = io.BytesIO()
    Image.fromarray(coffee).save(buffer, "JPEG", quality=70, subsampling="4:2:0")
    assert np.array_equal(real.libjpeg(coffee, 70, "4:2:0"), np.asarray(Image.open(buffer)))


@pytest.mark.parametrize("side", [1, 3, 5])
def test_the_median_is_the_middle_and_its_gradient_goes_to_what_equals_it(coffee, side):
    image = _tensor(coffee[:40, :50]).requires_grad_()
    padded = F.pad(image, (side // 2,) * 4, mode="replicate")
    windows = padded.unfold(2, side, 1).unfold(3, side, 1).flatten(4)
    filtered = median_filter(image, side)
    middle = windows.median(dim=-1, keepdim=True).values
    assert torch.equal(filtered, middle[..., 0])
    equal = (windows == middle).float()
    weight = torch.rand_like(filtered)
    (truth,) = torch.autograd.grad(
        (windows * equal / equal.sum(-1, keepdim=True) * weight[..., None]).sum(), image
    )
    (found,) = torch.autograd.grad((filtered * weight).sum(), image)
    torch.testing.assert_close(found, truth)


def test_gradients_reach_the_image_through_every_step(coffee):
    text = "crop=0.1,0.1,0.9,0.9 resize=0.8 gaussian=3 median=3 noise=0.01 tone=0.02,1.05 jpeg=75"
    image = _tensor(coffee[:80, :80]).requires_grad_()
    out = simulate.apply(image, [parse_chain(text)], np.random.default_rng(0), JpegModel())
    out.sum().backward()
    inside = image.grad[..., 12:68, 12:68]
    assert float((inside != 0).float().mean()) > 0.5
    assert float(image.grad[..., :6, :].abs().max()) == 0  # cropped away


def test_the_curriculum_starts_with_crops_alone_and_ends_with_everything():
    rng = np.random.default_rng(0)
    for _ in range(50):
        attack = draw_attack(rng, 0.0)
        assert attack.before == attack.after == ()
    kinds = set()
    for _ in range(400):
        attack = draw_attack(rng, 1.0)
        kinds |= {step.name for step in (*attack.before, *attack.after)}
    assert kinds == {"jpeg", "resize", "gaussian", "median", "noise", "tone"}


def test_the_ends_are_drawn_more_often_than_they_befall():
    rng = np.random.default_rng(0)
    drawn = [draw_attack(rng, 1.0) for _ in range(2000)]
    plain = np.mean([not attack.before and not attack.after for attack in drawn])
    halved = np.mean([[step.name for step in a.after] == ["resize", "jpeg"] for a in drawn])
    assert 0.36 < plain < 0.44 and 0.1 < halved < 0.18


def test_what_is_halved_is_saved_as_jpeg():
    rng = np.random.default_rng(0)
    drawn = [draw_halved(rng) for _ in range(100)]
    assert {tuple(step.name for step in chain) for chain in drawn} == {("resize", "jpeg")}
    shares, qualities = zip(*((a.values[0], b.values[0]) for a, b in drawn), strict=True)
    assert 0.45 <= min(shares) < 0.5 and 0.65 < max(shares) <= 0.7
    assert 60 <= min(qualities) < 75 and max(qualities) <= 96


def test_crops_keep_what_they_should():
    rng = np.random.default_rng(0)
    for _ in range(200):
        x0, y0, x1, y1 = draw_crop(rng, 0.5).values
        assert 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1
        assert x1 - x0 >= 0.5 and y1 - y0 >= 0.5


def test_steps_that_measure_limits_are_real_only(coffee):
    pixels = coffee[:40, :60]

    def after(text):
        return real.apply(pixels, parse_chain(text), np.random.default_rng(0))

    np.testing.assert_array_equal(after("mirror"), pixels[:, ::-1])
    framed = after("border=0.1")
    assert framed.shape == (48, 68, 3) and (framed[:4] == 255).all()
    np.testing.assert_array_equal(framed[4:-4, 4:-4], pixels)
    turned = after("rotate=90")
    np.testing.assert_array_equal(turned[15:25, 25:35], np.rot90(pixels[:, 10:50])[15:25, 15:25])
    with pytest.raises(InputError, match="mirror"):
        _both(pixels, "mirror")
