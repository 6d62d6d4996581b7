"""The pipeline on a device's tensors gives what it gives on the host."""

import numpy as np
import pytest
import torch

import clr_infer
from clr_infer.device_pixels import DevicePixels
from clr_infer.errors import ModelError
from clr_infer.geometry import Box, box_to_pixels
from clr_infer.pixels import HostPixels
from clr_infer.runtimes.torch_eager import TorchEager
from clr_infer.settings import DEFAULT_SETTINGS
from clr_infer.specs import FRAME_PX
from clr_infer.weights import Weights

BOX = Box(0.10, 0.05, 0.85, 0.80)
FLIPS_MAX = 1e-4  # share of values whose exact sum lies so near a half that its rounding differs


def _session(device: str, pixels) -> clr_infer.Session:
    runtime = TorchEager(Weights(), device)
    runtime.pixels = pixels
    return clr_infer.Session(runtime, Weights(), DEFAULT_SETTINGS)


@pytest.fixture(scope="module")
def host():
    return _session("cpu", HostPixels())


@pytest.fixture(scope="module")
def device():
    return _session("cpu", DevicePixels("cpu", "torch"))


def _fragment(image: np.ndarray) -> np.ndarray:
    x0, y0, x1, y1 = box_to_pixels(BOX, image.shape[1], image.shape[0])
    return image[y0:y1, x0:x1]


def _assert_merged(ours, theirs) -> None:
    difference = np.abs(ours.image.astype(int) - theirs.image)
    assert difference.max() <= 1 and (difference > 0).mean() <= FLIPS_MAX
    assert ours.psnr_db == pytest.approx(theirs.psnr_db, abs=1e-3)


def test_protect_crop_recover_is_the_same_on_a_device(host, device, coffee, rocket):
    images = [coffee, rocket]
    expected = host.protect_batch(images)
    for ours, theirs in zip(device.protect_batch(images), expected, strict=True):
        _assert_merged(ours, theirs)
    received = [_fragment(one.image) for one in expected] + [_fragment(coffee)]
    results = device.recover_batch(received), host.recover_batch(received)
    for ours, theirs in zip(*results, strict=True):
        assert ours.located.as_dict() == theirs.located.as_dict()
        assert set(ours.timings_ms) == set(theirs.timings_ms)
        if theirs.image is None:
            assert ours.image is None
        else:
            assert np.array_equal(ours.image, theirs.image)
            assert np.array_equal(ours.located.mask, theirs.located.mask)
    assert device.locate(received[0]).as_dict() == host.locate(received[0]).as_dict()


def test_frames_of_both_are_equal(coffee):
    on_device = DevicePixels("cpu", "torch")
    ours = on_device.preprocess([on_device.upload(coffee)], FRAME_PX)
    assert np.array_equal(on_device.download(ours), HostPixels().preprocess([coffee], FRAME_PX))


def test_awkward_shapes_are_equal_on_both():
    ours, theirs = DevicePixels("cpu", "torch"), HostPixels()
    rng = np.random.default_rng(0)
    shapes = [(1, 1), (1, 7), (64, 1), (7, 9), (33, 64), (64, 64), (65, 31), (3, 400), (180, 97)]
    for height, width in shapes:
        image = rng.integers(0, 256, (height, width, 3), np.uint8)
        on_device = ours.upload(image)
        frames = ours.preprocess([on_device], 64)
        assert np.array_equal(ours.download(frames), theirs.preprocess([image], 64))
        frame = rng.normal(0.5, 0.6, (3, 64, 64)).astype(np.float32)
        for feather_px in (0, 1, 6):
            (x0, x1), (y0, y1) = np.sort(rng.uniform(0.0, 0.3, (2, 2))) + [(0.0, 0.7)] * 2
            box = Box(*rng.choice([0.0, 1.0], 2) * (x0, y0), x1, y1)
            found = ours.composite(on_device, torch.from_numpy(frame), box, feather_px)
            assert np.array_equal(found, theirs.composite(image, frame, box, feather_px))
        found, _ = ours.residual_merge(on_device, torch.from_numpy(frame - 0.5), 38.0)
        expected, _ = theirs.residual_merge(image, frame - np.float32(0.5), 38.0)
        assert np.abs(found.astype(int) - expected).max() <= 1


def test_what_is_no_residual_is_none_on_a_device():
    device = DevicePixels("cpu", "torch")
    image = device.upload(np.full((40, 50, 3), 128, np.uint8))
    for value in (0.0, np.nan):
        with pytest.raises(ModelError, match="residual must be finite and not all zero"):
            device.residual_merge(image, torch.full((3, 64, 64), value), 40.0)


@pytest.mark.parametrize("step", ["preprocess", "composite", "residual_merge"])
def test_a_device_that_fails_on_an_image_says_so(device, coffee, monkeypatch, step):
    def full(*_args):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nand more")

    protected = device.protect(coffee).image
    monkeypatch.setattr(f"clr_infer.device_pixels.{step}", full)
    with pytest.raises(ModelError, match="out of memory.*smaller batches or images") as caught:
        device.protect(coffee)
        device.recover(_fragment(protected))
    assert "\n" not in str(caught.value)


def test_small_arrays_come_back_together():
    given = [torch.rand(2, 4), torch.rand(2), torch.rand(2, 2)]
    found = DevicePixels("cpu").download_all(given)
    assert [one.shape for one in found] == [(2, 4), (2,), (2, 2)]
    for ours, theirs in zip(found, given, strict=True):
        assert np.array_equal(ours, theirs.numpy())


def test_the_torch_runtime_returns_what_it_was_given(device):
    frames = np.random.default_rng(0).random((1, 3, FRAME_PX, FRAME_PX), np.float32)
    by_numpy = device.runtime.run("align", {"received": frames})["aligned"]
    by_torch = device.runtime.run("align", {"received": torch.from_numpy(frames)})["aligned"]
    assert isinstance(by_numpy, np.ndarray) and isinstance(by_torch, torch.Tensor)
    assert np.array_equal(by_numpy, by_torch.numpy())


@pytest.mark.gpu
def test_the_pipeline_on_a_gpu_is_that_on_the_cpu(host, gpu, coffee, rocket):
    """With a GPU the networks' sums differ in their last bits, and so few pixels by a level."""
    ours = _session(gpu.type, DevicePixels(gpu.type))
    images = [coffee, rocket]
    expected = host.protect_batch(images)
    for one, theirs in zip(ours.protect_batch(images), expected, strict=True):
        difference = np.abs(one.image.astype(int) - theirs.image)
        assert difference.max() <= 1 and (difference > 0).mean() < 0.02
        assert one.psnr_db == pytest.approx(theirs.psnr_db, abs=0.01)
    received = [_fragment(one.image) for one in expected] + [_fragment(coffee)]
    results = ours.recover_batch(received), host.recover_batch(received)
    for one, theirs in zip(*results, strict=True):
        assert one.located.protected == theirs.located.protected
        assert one.located.confidence == pytest.approx(theirs.located.confidence, abs=1e-3)
        if theirs.image is not None:
            boxes = one.located.crop_box, theirs.located.crop_box
            np.testing.assert_allclose(*boxes, atol=1e-3)
            assert one.image.shape == theirs.image.shape
            assert np.abs(one.image.astype(int) - theirs.image).mean() < 0.5


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_tensors_stay_on_the_gpu_between_the_networks():
    session = clr_infer.load("torch")
    assert isinstance(session.runtime.pixels, DevicePixels)
    frames = torch.rand(2, 3, FRAME_PX, FRAME_PX, device="cuda")
    assert session.runtime.run("align", {"received": frames})["aligned"].is_cuda
