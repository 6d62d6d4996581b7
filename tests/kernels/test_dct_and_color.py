import numpy as np
import pytest
import torch
from clr_infer.kernels import rgb_to_ycbcr, ycbcr_to_rgb
from clr_infer.kernels.reference import dct_blocks, idct_blocks, round_with
from clr_infer.kernels.reference.dct import DCT_MATRIX, blocks_to_plane, plane_to_blocks
from torch.utils._python_dispatch import TorchDispatchMode


def test_dct_is_orthonormal_and_inverts():
    identity = DCT_MATRIX @ DCT_MATRIX.T
    torch.testing.assert_close(identity, torch.eye(8, dtype=torch.float64), rtol=0, atol=1e-12)
    blocks = torch.randn(2, 3, 4, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(idct_blocks(dct_blocks(blocks)), blocks, rtol=0, atol=1e-12)


def test_dc_is_eight_times_the_mean():
    blocks = torch.full((1, 8, 8), 3.0)
    coefficients = dct_blocks(blocks)
    assert abs(float(coefficients[0, 0, 0]) - 24.0) < 1e-5
    assert float(coefficients.flatten()[1:].abs().max()) < 1e-5


def test_blocks_are_cut_row_by_row():
    plane = torch.arange(16 * 24.0).view(1, 16, 24)
    blocks = plane_to_blocks(plane)
    assert torch.equal(blocks[0, 1, 2], plane[0, 8:16, 16:24])
    assert torch.equal(blocks_to_plane(blocks), plane)


def test_colour_inverts_and_gray_has_no_chroma():
    rgb = torch.rand(2, 3, 5, 7) * 255
    torch.testing.assert_close(ycbcr_to_rgb(rgb_to_ycbcr(rgb)), rgb, rtol=0, atol=2e-3)
    gray = torch.full((1, 3, 2, 2), 77.0)
    expected = torch.tensor([77.0, 128.0, 128.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    torch.testing.assert_close(rgb_to_ycbcr(gray), expected, rtol=0, atol=1e-4)


class _Copies(TorchDispatchMode):
    """Counts tensors that are made from numbers or brought to another type or device."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket
        self.count += name in (torch.ops.aten._to_copy, torch.ops.aten.lift_fresh)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("stage", [dct_blocks, idct_blocks, rgb_to_ycbcr, ycbcr_to_rgb])
def test_constants_are_copied_once(stage):
    """On a GPU a copy waits, and no CUDA graph can hold it."""
    values = torch.rand(1, 3, 8, 8).bfloat16()  # a type that no constant has of its own
    with torch.inference_mode():
        first = stage(values)
    with _Copies() as copies:
        again = stage(values)
    assert torch.equal(first, again) and copies.count == 0
    stage(values.requires_grad_()).sum().backward()  # inference left nothing that refuses


def test_halves_round_away_from_zero():
    values = torch.tensor([-2.5, -1.5, -0.5, 0.49, 0.5, 1.5, 2.5])
    expected = [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0]
    for rounding in ("hard", "ste"):
        assert round_with(values, rounding).tolist() == expected


def test_soft_rounding_has_its_published_gradient():
    x = torch.tensor([0.3, 1.8, -2.2], dtype=torch.float64, requires_grad=True)
    round_with(x, "soft").sum().backward()
    rest = x.detach() - x.detach().round()
    np.testing.assert_allclose(x.grad.numpy(), 3 * rest.square().numpy(), rtol=1e-12)
    assert torch.autograd.gradcheck(lambda v: round_with(v, "soft"), (x,))
