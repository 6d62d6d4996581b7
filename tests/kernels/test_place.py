"""Place: the kernel against dense matrices, and the reference against what it says of itself."""

import pytest
import torch
from clr_infer.kernels import KernelUnavailable, place, reference

ATOL = 2e-6  # a sum of up to 25 products, in another order
BOXES = [
    (0.0, 0.0, 1.0, 1.0),
    (0.1, 0.2, 0.85, 0.9),
    (0.37, 0.0, 0.93, 0.61),
    (-0.1, -0.05, 1.1, 1.2),
]
SLIVERS = [(0.5, 0.5, 0.52, 0.55), (0.4, 0.4, 0.4, 0.4), (0.9, 0.2, 0.1, 0.8)]


def _input(size: int, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(size)
    received = torch.rand(batch, 3, size, size, generator=generator)
    return received, torch.tensor([BOXES[(i + 1) % len(BOXES)] for i in range(batch)])


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("size", [1, 7, 33, 70])
def test_kernel_equals_its_reference(size, batch, triton_device):
    received, boxes = _input(size, batch)
    canvas, mask = place(received.to(triton_device), boxes.to(triton_device), "triton")
    expected, coverage = reference.place(received, boxes)
    torch.testing.assert_close(canvas.cpu(), expected, rtol=0, atol=ATOL)
    assert torch.equal(mask.cpu(), coverage)


def test_kernel_equals_its_reference_on_slivers(triton_device):
    """Boxes that no network should give: the triangle reaches over the whole received image."""
    received, boxes = _input(9, len(SLIVERS))[0], torch.tensor(SLIVERS)
    canvas, mask = place(received.to(triton_device), boxes.to(triton_device), "triton")
    expected, coverage = reference.place(received, boxes)
    torch.testing.assert_close(canvas.cpu(), expected, rtol=0, atol=ATOL)
    assert torch.equal(mask.cpu(), coverage)


def test_kernel_takes_any_memory_order(triton_device):
    received, boxes = (x.to(triton_device) for x in _input(20, 3))
    turned = received.transpose(2, 3).contiguous().transpose(2, 3)
    columns = boxes.T.contiguous().T
    assert not turned.is_contiguous() and not columns.is_contiguous()
    for ours, expected in zip(
        place(turned, columns, "triton"), place(received, boxes, "triton"), strict=True
    ):
        assert torch.equal(ours, expected)


def test_the_whole_frame_stays_where_it_is():
    received, boxes = _input(33, 1)[0], torch.tensor(BOXES[:1])
    canvas, mask = reference.place(received, boxes)
    torch.testing.assert_close(canvas, received, rtol=0, atol=ATOL)
    assert bool((mask == 1).all())


def test_gradients_come_from_the_reference():
    received, boxes = _input(16, 2)
    received.requires_grad_()
    place(received, boxes)[0].sum().backward()
    assert received.grad is not None and bool((received.grad != 0).any())
    with pytest.raises(KernelUnavailable, match="gradient"):
        place(received, boxes, "triton")


def test_reference_gradients_are_right():
    received, boxes = _input(5, 2)
    received, boxes = received.double().requires_grad_(), boxes.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, b: reference.place(x, b)[0], (received, boxes))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"received": torch.zeros(2, 3, 8, 8, dtype=torch.uint8)}, "received"),
        ({"received": torch.zeros(3, 8, 8)}, "received"),
        ({"received": torch.zeros(2, 1, 8, 8)}, "received"),
        ({"received": torch.zeros(2, 3, 8, 9)}, "received"),
        ({"received": torch.zeros(0, 3, 8, 8)}, "received"),
        ({"crop_box": torch.zeros(3, 4)}, "crop_box"),
        ({"crop_box": torch.zeros(2, 4, dtype=torch.float64)}, "crop_box"),
        ({"crop_box": torch.zeros(2, 4, device="meta")}, "crop_box is on meta"),
        ({"impl": "cuda"}, "impl"),
    ],
)
def test_bad_arguments_are_named(change, word):
    arguments = {"received": torch.zeros(2, 3, 8, 8), "crop_box": torch.zeros(2, 4), **change}
    with pytest.raises(ValueError, match=word):
        place(**arguments)
