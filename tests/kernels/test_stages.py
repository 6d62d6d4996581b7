"""Each stage of the codec alone: the kernel against its reference."""

import numpy as np
import pytest
import torch
from clr_infer.kernels import KernelUnavailable, reference, stages
from clr_infer.kernels.dispatch import launch
from clr_infer.kernels.reference.philox import philox_uniform

ATOL = {torch.int32: 0.0, torch.uint8: 0.0, torch.float32: 2e-4, torch.bfloat16: 2.0}
# fp32 sums of values up to 255 (DCT: 1024) in another order; bf16 has 8 bits, and the interpreter
# truncates to it


def _values(shape, dtype, low=0, high=256):
    values = torch.randint(low, high, shape, generator=torch.Generator().manual_seed(7))
    if dtype in (torch.float32, torch.bfloat16):
        return (values + 0.25 * torch.sin(values.float())).to(dtype)
    return values.to(dtype)


def _same(name, device, *arguments, **options):
    arguments = [a.to(device) if isinstance(a, torch.Tensor) else a for a in arguments]
    ours = getattr(stages, name)(*arguments, **options, impl="triton")
    theirs = getattr(reference, name)(*arguments, **options)
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs, rtol=0, atol=ATOL[arguments[0].dtype])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["rgb_to_ycbcr", "ycbcr_to_rgb"])
def test_colour(triton_device, name, dtype):
    for shape in ((1, 3, 1, 1), (3, 3, 17, 25)):
        _same(name, triton_device, _values(shape, dtype))


@pytest.mark.parametrize("dtype", [torch.int32, torch.float32])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_chroma_subsampling(triton_device, subsampling, dtype):
    for shape in ((1, 2, 2), (3, 18, 34)):
        _same("downsample", triton_device, _values(shape, dtype), subsampling)
    for shape in ((1, 1, 1), (3, 9, 17)):
        for upsampling in ("triangle", "replicate"):
            _same("upsample", triton_device, _values(shape, dtype), subsampling, upsampling)


@pytest.mark.parametrize("dtype", [torch.int32, torch.float32])
@pytest.mark.parametrize("name", ["dct_blocks", "idct_blocks"])
def test_dct(triton_device, name, dtype):
    _same(name, triton_device, _values((3, 7, 8, 8), dtype, -128, 128))
    strided = _values((8, 2, 8), dtype, -128, 128).transpose(0, 1)
    _same(name, triton_device, strided)


@pytest.mark.parametrize("rounding", ["hard", "ste", "soft"])
def test_quantise(triton_device, rounding):
    table = _values((8, 8), torch.float32, 1, 99).round().clamp(min=1)
    _same("quantise", triton_device, _values((5, 8, 8), torch.int32, -9000, 9000), table)
    coefficients = _values((5, 8, 8), torch.float32, -900, 900)
    _same("quantise", triton_device, coefficients, table, rounding=rounding)


def test_every_quotient_is_exact(triton_device):
    """All steps of 8-bit tables, numerators around every multiple of a half step."""
    steps = torch.arange(1, 256)[:, None]
    halves = 8 * steps * torch.arange(1200)[None] + 4 * steps  # where one level meets the next
    edges = torch.cat([(halves + d).clamp(max=11000) for d in (-1, 0, 1)], 1)
    coefficients = torch.cat([edges, -edges], 1).int()
    _same("quantise", triton_device, coefficients, steps.float())


def test_noise_is_that_of_philox(triton_device):
    coefficients = _values((4, 8, 8), torch.float32, -90, 90).to(triton_device)
    torch.manual_seed(3)
    ours = stages.quantise(coefficients, torch.tensor(2.0).to(triton_device), "noise", "triton")
    torch.manual_seed(3)
    seed = int(torch.randint(2**31, ()))
    index = torch.arange(coefficients.numel()).view(coefficients.shape)
    noise = philox_uniform(seed, index).to(triton_device)
    torch.testing.assert_close(ours, coefficients / 2 + noise - 0.5, rtol=0, atol=1e-5)


def test_coefficients_beyond_32_bits_are_counted(triton_device, monkeypatch):
    """The program that begins at number 2^32: wrapped around, it would be the first again."""
    if triton_device.type != "cpu":
        pytest.skip("a program is chosen in the interpreter")
    from triton import language as tl
    from triton.runtime import interpreter

    begin = interpreter.TensorHandle(np.array([2**32 // 128], np.int32), tl.int32)
    builder = interpreter.interpreter_builder
    monkeypatch.setattr(builder, "create_get_program_id", lambda axis: begin)
    out = torch.full((128,), 7.0)
    for rounding in ("nearest", "noise"):
        launch(
            stages.quantise_kernel, (1,), torch.ones(128), torch.ones(128), out, 2**32, 0,
            N=128, ROUNDING=rounding,
        )  # fmt: skip
    assert bool((out == 7.0).all())


def test_gradients_are_the_references_business(triton_device):
    rgb = torch.rand(1, 3, 4, 4, device=triton_device, requires_grad=True)
    stages.rgb_to_ycbcr(rgb).sum().backward()
    assert rgb.grad is not None
    with pytest.raises(KernelUnavailable, match="gradient"):
        stages.rgb_to_ycbcr(rgb, impl="triton")
    with pytest.raises(KernelUnavailable, match="float64"):
        stages.dct_blocks(torch.zeros(1, 8, 8, dtype=torch.float64), impl="triton")
