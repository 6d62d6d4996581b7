"""Preprocess and composite against Pillow and against each other, with no value different."""

import numpy as np
import pytest
import torch
from clr_infer.kernels import composite, preprocess, reference, resize
from PIL import Image

from clr_infer import composite as host
from clr_infer.geometry import Box, canvas_size, placed_box
from clr_infer.preprocess import to_frame

SIZES = [(1, 1), (7, 9), (33, 33), (17, 250), (250, 17), (64, 90), (90, 64), (301, 37), (130, 131)]
LAYOUTS = [  # received width and height, crop box, feather
    ((1, 1), Box(0.0, 0.0, 1.0, 1.0), 6),
    ((9, 7), Box(0.3, 0.2, 0.8, 0.9), 1),
    ((33, 33), Box(0.0, 0.0, 1.0, 1.0), 6),
    ((100, 80), Box(0.25, 0.0, 0.75, 0.5), 6),
    ((250, 17), Box(0.1, 0.2, 0.7, 0.9), 0),
    ((60, 40), Box(0.1, 0.2, 0.7, 1.0), 100),
    ((64, 64), Box(0.0, 0.0, 1.0, 1.0), 3),
    ((100, 10), Box(0.01, 0.0, 1.0, 1.0), 6),
    ((20, 64), Box(0.2, 0.0, 0.8, 1.0), 6),
]


@pytest.fixture
def blocks(triton_device, monkeypatch):
    """Larger programs where they are interpreted: their number is what takes the time."""
    if triton_device.type == "cpu":
        monkeypatch.setattr(resize, "_BLOCK", 4096)


def _images(height: int, width: int, batch: int = 1) -> np.ndarray:
    """Noise, and black and white, which overshoots at every edge."""
    rng = np.random.default_rng(height * 1000 + width)
    images = rng.integers(0, 256, (batch, height, width, 3), dtype=np.uint8)
    images[::2] = (images[::2] > 127) * np.uint8(255)
    return images


def _composite_input(size, width, height, box, seed=0):
    rng = np.random.default_rng(seed)
    received = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    recovered = rng.uniform(-0.1, 1.1, (3, size, size)).astype(np.float32)
    return received, recovered, placed_box(box, width, height), canvas_size(box, width, height)


@pytest.mark.parametrize("frame", [1, 33, 64, 512])
@pytest.mark.parametrize("size", [*SIZES, (700, 512), (512, 40), (3000, 61)])
def test_preprocess_reference_is_pillow(size, frame):
    for image in _images(*size, batch=2):
        ours = reference.preprocess(torch.from_numpy(image), frame).numpy()
        assert np.array_equal(ours, to_frame(image, frame))


def test_preprocess_reference_is_pillow_on_a_photograph(raccoon):
    for frame in (64, 333, 512):
        ours = reference.preprocess(torch.from_numpy(raccoon.copy()), frame).numpy()
        assert np.array_equal(ours, to_frame(raccoon, frame))


@pytest.mark.parametrize(
    ("size", "frame", "batch"),
    [*((size, 33, 1) for size in SIZES[:-1]), ((1, 1), 33, 3), ((7, 9), 64, 3), ((17, 50), 64, 3)],
)
def test_preprocess_kernel_equals_its_reference(size, frame, batch, triton_device, blocks):
    images = torch.from_numpy(_images(*size, batch))
    ours = preprocess(images.to(triton_device), frame, "triton").cpu()
    assert torch.equal(ours, reference.preprocess(images, frame))


def test_preprocess_kernel_reaches_one_pixel(triton_device):
    images = torch.from_numpy(_images(7, 9))
    ours = preprocess(images.to(triton_device), 1, "triton").cpu()
    assert torch.equal(ours, reference.preprocess(images, 1))


def test_preprocess_takes_one_image_or_several_in_any_memory_order(triton_device):
    images = torch.from_numpy(_images(20, 25, 3)).to(triton_device)
    alone = preprocess(images[1], 16, "triton")
    assert alone.shape == (3, 16, 16)
    assert torch.equal(alone, preprocess(images, 16, "triton")[1])
    flipped = images.flip(2).transpose(1, 2)
    assert not flipped.is_contiguous()
    expected = reference.preprocess(flipped.contiguous().cpu(), 16)
    assert torch.equal(preprocess(flipped, 16, "triton").cpu(), expected)
    assert torch.equal(preprocess(flipped, 16, "torch").cpu(), expected)


@pytest.mark.parametrize("frame", [33, 64])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_composite_reference_is_the_cpu_pipeline(layout, frame):
    (width, height), box, feather_px = layout
    received, recovered, box_px, canvas_px = _composite_input(frame, width, height, box)
    ours = reference.composite(
        torch.from_numpy(received), torch.from_numpy(recovered), box_px, canvas_px, feather_px
    )
    assert np.array_equal(ours.numpy(), host.composite(received, recovered, box, feather_px))


@pytest.mark.parametrize(
    ("layout", "frame"), [*((layout, 33) for layout in LAYOUTS), (LAYOUTS[6], 64), (LAYOUTS[8], 64)]
)
def test_composite_kernel_equals_its_reference(layout, frame, triton_device, blocks):
    (width, height), box, feather_px = layout
    received, recovered, *where = _composite_input(frame, width, height, box)
    tensors = torch.from_numpy(received), torch.from_numpy(recovered)
    on_device = (tensor.to(triton_device) for tensor in tensors)
    ours = composite(*on_device, *where, feather_px, "triton").cpu()
    assert torch.equal(ours, reference.composite(*tensors, *where, feather_px))


def test_composite_takes_any_memory_order(triton_device):
    received, recovered, *where = _composite_input(32, 40, 30, Box(0.1, 0.2, 0.9, 0.9))
    tensors = torch.from_numpy(received), torch.from_numpy(recovered)
    turned = (
        tensors[0].transpose(0, 1).contiguous().transpose(0, 1).to(triton_device),
        tensors[1].transpose(1, 2).contiguous().transpose(1, 2).to(triton_device),
    )
    assert not turned[0].is_contiguous() and not turned[1].is_contiguous()
    expected = reference.composite(*tensors, *where, 4)
    for impl in ("triton", "torch"):
        assert torch.equal(composite(*turned, *where, 4, impl).cpu(), expected)


def test_pillow_blends_as_the_reference_does():
    """Every opacity over every pair of sixteen levels."""
    levels = torch.arange(0, 256, 17, dtype=torch.uint8)
    under, over = torch.meshgrid(levels, levels, indexing="ij")
    for opacity in range(256):
        canvas = Image.fromarray(under.numpy().copy())
        canvas.paste(
            Image.fromarray(over.numpy().copy()), (0, 0), Image.new("L", (16, 16), opacity)
        )
        mixed = under.int() * (255 - opacity) + over.int() * opacity + 128
        assert np.array_equal(np.asarray(canvas), (((mixed >> 8) + mixed) >> 8).numpy())


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"images": np.zeros((8, 8, 3), np.uint8)}, "images"),
        ({"images": torch.zeros(8, 8, 3)}, "images"),
        ({"images": torch.zeros(8, 8, dtype=torch.uint8)}, "images"),
        ({"images": torch.zeros(8, 8, 4, dtype=torch.uint8)}, "images"),
        ({"images": torch.zeros(0, 8, 8, 3, dtype=torch.uint8)}, "images"),
        ({"images": torch.zeros(8, 0, 3, dtype=torch.uint8)}, "images"),
        (
            {"images": torch.zeros(1, 1, 1, dtype=torch.uint8).expand(30_000, 30_000, 3)},
            "images are too large",
        ),
        ({"size": 0}, "size"),
        ({"impl": "cuda"}, "impl"),
    ],
)
def test_preprocess_names_bad_arguments(change, word):
    arguments = {"images": torch.zeros(8, 8, 3, dtype=torch.uint8), "size": 8, **change}
    with pytest.raises(ValueError, match=word):
        preprocess(**arguments)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"received": torch.zeros(8, 6, 3)}, "received"),
        ({"received": torch.zeros(8, 5, 3, dtype=torch.uint8)}, "box_px"),
        ({"recovered": torch.zeros(3, 16, 16, dtype=torch.float64)}, "recovered"),
        ({"recovered": torch.zeros(3, 16, 15)}, "recovered"),
        ({"recovered": torch.zeros(1, 3, 16, 16)}, "recovered"),
        ({"recovered": torch.zeros(3, 16, 16, device="meta")}, "recovered is on meta"),
        ({"box_px": (-1, 2, 5, 10)}, "box_px"),
        ({"box_px": (5, 2, 11, 10)}, "box_px"),
        ({"box_px": (5, 2, 5, 10)}, "box_px"),
        ({"canvas_px": (0, 12)}, "canvas_px"),
        ({"canvas_px": (30_000, 30_000)}, "canvas_px"),
        ({"feather_px": -1}, "feather_px"),
        ({"impl": "cuda"}, "impl"),
    ],
)
def test_composite_names_bad_arguments(change, word):
    arguments = {
        "received": torch.zeros(8, 6, 3, dtype=torch.uint8),
        "recovered": torch.zeros(3, 16, 16),
        "box_px": (1, 2, 7, 10),
        "canvas_px": (10, 12),
        "feather_px": 2,
        **change,
    }
    with pytest.raises(ValueError, match=word):
        composite(**arguments)
