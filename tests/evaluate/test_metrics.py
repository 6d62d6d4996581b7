import sys

import numpy as np
import pytest

from clr_infer.errors import InputError, RuntimeUnavailable
from clr_infer.evaluate import extras, metrics
from clr_infer.geometry import Box

structural_similarity = pytest.importorskip("skimage.metrics").structural_similarity

SKIMAGE = {
    "gaussian_weights": True,
    "use_sample_covariance": False,
    "sigma": 1.5,
    "data_range": 255,
}


def textured(seed, height=61, width=83, channels=(3,)):
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    waves = 110 + 60 * np.sin(rows / 7.0) + 40 * np.cos(columns / 11.0)
    noise = rng.normal(0.0, 12.0, (height, width, *channels))
    return np.clip(waves.reshape(height, width, *[1] * len(channels)) + noise, 0, 255).astype("u1")


def test_psnr_of_known_differences():
    image = textured(0)
    assert metrics.psnr(image, image) == 100.0
    for shape in ((5, 7, 3), (5, 7)):
        off_by_one = metrics.psnr(np.zeros(shape, "u1"), np.ones(shape, "u1"))
        assert off_by_one == pytest.approx(48.1308, abs=1e-4)
    assert metrics.psnr(np.zeros((5, 7, 3), "u1"), np.full((5, 7, 3), 255, "u1")) == 0.0


def test_psnr_outside_sees_only_the_cropped_out_area():
    image = textured(0)
    spoilt = image.copy()
    spoilt[:20] = 0
    seen = np.zeros(image.shape[:2], bool)
    seen[:20] = True
    assert metrics.psnr_outside(image, spoilt, seen) == 100.0
    assert metrics.psnr_outside(image, spoilt, ~seen) == metrics.psnr(image[:20], spoilt[:20])


@pytest.mark.parametrize("shape", [(11, 11), (33, 33), (61, 83)])
def test_ssim_is_that_of_skimage(shape):
    a, b = textured(1, *shape), textured(2, *shape)
    one, other = metrics.luma(a), metrics.luma(b)
    expected, expected_map = structural_similarity(one, other, full=True, **SKIMAGE)
    assert metrics.ssim(a, b) == pytest.approx(expected, abs=1e-9)
    np.testing.assert_allclose(metrics.ssim_map(a, b), expected_map, rtol=0, atol=1e-9)


def test_ssim_of_planes_is_that_of_skimage():
    a, b = textured(1, channels=()), textured(2, channels=())
    expected = structural_similarity(a, b, **SKIMAGE)
    assert metrics.ssim(a, b) == pytest.approx(expected, abs=1e-9)


def test_ssim_outside_is_the_mean_of_the_map():
    a, b = textured(1), textured(2)
    seen = np.zeros(a.shape[:2], bool)
    seen[:, 30:] = True
    similarity = metrics.ssim_map(a, b)
    assert metrics.ssim_outside(similarity, seen) == pytest.approx(similarity[:, :30].mean())


def test_ms_ssim_of_flat_images_is_the_coarsest_luminance_term():
    one, other = np.full((180, 200), 100.0), np.full((180, 200), 150.0)
    luminance = (2 * 100 * 150 + 6.5025) / (100**2 + 150**2 + 6.5025)
    assert metrics.ms_ssim(one, other) == pytest.approx(luminance**0.1333)


def test_ms_ssim_multiplies_the_scales_of_skimage():
    a, b = (textured(seed, 193, 211, ()).astype(float) for seed in (1, 2))
    expected = 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        structure_only = {} if scale == 4 else {"K1": 1e6}  # makes the luminance term one
        expected *= structural_similarity(a, b, **SKIMAGE, **structure_only) ** weight
        a, b = (
            (p[0::2, 0::2] + p[1::2, 0::2] + p[0::2, 1::2] + p[1::2, 1::2]) / 4
            for p in (q[: q.shape[0] // 2 * 2, : q.shape[1] // 2 * 2] for q in (a, b))
        )
    one, other = (textured(seed, 193, 211, ()).astype(float) for seed in (1, 2))
    assert metrics.ms_ssim(one, other) == pytest.approx(expected, abs=1e-6)


def test_ms_ssim_bounds():
    image = textured(3, 176, 176)
    assert metrics.ms_ssim(image, image) == pytest.approx(1.0)
    assert metrics.ms_ssim(image, 255 - image) == 0.0
    with pytest.raises(InputError, match="176"):
        metrics.ms_ssim(image[:175], image[:175])


def test_cropped_out_f1():
    whole = np.full((10, 10), 255, np.uint8)
    half, quarter = whole.copy(), whole.copy()
    half[:, 5:] = 0
    quarter[:5, 5:] = 0
    assert metrics.cropped_out_f1(half, half) == 1.0
    assert metrics.cropped_out_f1(quarter, half) == pytest.approx(2 * 25 / (25 + 50))
    assert metrics.cropped_out_f1(whole, half) == 0.0
    assert metrics.cropped_out_f1(half, whole) == 0.0
    assert metrics.cropped_out_f1(whole, whole) == 1.0


def test_corner_error_takes_the_worst_edge_in_pixels():
    true, predicted = Box(0.1, 0.2, 0.9, 0.8), Box(0.11, 0.2, 0.9, 0.77)
    assert metrics.corner_error_px(predicted, true, 200, 100) == pytest.approx(3.0)
    assert metrics.corner_error_px(predicted, true, 400, 100) == pytest.approx(4.0)


def test_roc_auc_counts_pairs_with_ties_half():
    rng = np.random.default_rng(0)
    positives, negatives = rng.integers(2, 8, 23), rng.integers(0, 6, 31)
    pairs = [(p > n) + 0.5 * (p == n) for p in positives for n in negatives]
    assert metrics.roc_auc(list(positives), list(negatives)) == pytest.approx(np.mean(pairs))
    assert metrics.roc_auc([0.9, 0.8], [0.1]) == 1.0
    assert metrics.roc_auc([0.5], [0.5, 0.5]) == 0.5


def test_rates_at_a_threshold():
    assert metrics.rates([0.5, 0.4, 0.9, 0.8], [0.5, 0.1], 0.5) == (0.75, 0.5)


@pytest.mark.parametrize(
    "call",
    [
        lambda a: metrics.psnr(a, a[:-1]),
        lambda a: metrics.psnr_outside(a, a, np.ones(a.shape[:2], bool)),
        lambda a: metrics.ssim_outside(metrics.ssim_map(a, a), np.zeros((3, 3), bool)),
        lambda a: metrics.ssim_outside(metrics.ssim_map(a, a), np.ones(a.shape[:2], bool)),
        lambda a: metrics.ssim(a[:10], a[:10]),
        lambda a: metrics.roc_auc([], [0.5]),
        lambda a: metrics.rates([0.5], [], 0.5),
    ],
)
def test_what_cannot_be_measured_is_refused(call):
    with pytest.raises(InputError):
        call(textured(0))


def test_a_missing_library_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.ndimage", None)
    with pytest.raises(RuntimeUnavailable, match=r'scipy.*pip install "clr_infer\[evaluate\]"'):
        metrics.ssim(textured(0), textured(1))
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(RuntimeUnavailable, match="matplotlib"):
        extras.require_extras()
