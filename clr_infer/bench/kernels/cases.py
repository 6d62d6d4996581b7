"""What is measured on a GPU: operations, their arguments, their bytes and their peers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from ...geometry import Box, box_to_pixels
from ...kernels import (
    composite,
    jpeg_roundtrip,
    jpeg_simulate,
    place,
    preprocess,
    residual_merge,
)
from . import traffic
from .peers import kornia_codec
from .photographs import photograph
from .plan import BACKWARD, BOTH, FORWARD, KernelPlan
from .traffic import Traffic

__all__ = ["Case", "all_cases", "timed"]

_PSNR_DB, _FEATHER_PX = 40.0, 16
_BOX = Box(0.1, 0.15, 0.85, 0.9)
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_CODECS = (("ste", "fp32"), ("ste", "bf16"), ("soft", "fp32"))


@dataclass(frozen=True)
class Case:
    """One operation at one size, forward or back.

    Attributes:
        op: the public name.
        variant: what distinguishes it from others of that name.
        mode: forward, backward, or both.
        batch: images of one call.
        size_px: side of the images, or of the frames.
        traffic: bytes of one call.
        function: the operation; takes ``arguments`` and ``impl``.
        arguments: gradients reach the first.
        capturable: whether a CUDA graph can hold it.
        compiled: whether its reference is measured under ``torch.compile``.
        kornia: kornia's counterpart; takes the first argument.
    """

    op: str
    variant: str
    mode: str
    batch: int
    size_px: int
    traffic: Traffic
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    capturable: bool = True
    compiled: bool = True
    kornia: Callable[[torch.Tensor], torch.Tensor] | None = None


def timed(function: Callable[..., Any], case: Case) -> Callable[[], Any]:
    """The call that is timed: ``function`` on the arguments of a case, in its mode."""
    first, *rest = case.arguments
    if case.mode == FORWARD:

        def forward() -> Any:
            with torch.no_grad():
                return function(first, *rest)

        return forward
    wanted = first.detach().clone().requires_grad_()
    gradient = torch.rand_like(first)
    if case.mode == BOTH:
        return lambda: torch.autograd.grad(function(wanted, *rest), wanted, gradient)
    result = function(wanted, *rest)
    return lambda: torch.autograd.grad(result, wanted, gradient, retain_graph=True)


def all_cases(plan: KernelPlan, device: torch.device) -> Iterator[Case]:
    """Every case of a plan, its arguments made when it is asked for."""
    for batch in plan.batches:
        yield from _jpeg_cases(plan, batch, device)
        yield from _batched_cases(plan, batch, device)
    yield from _single_cases(plan, device)


def _frames(plan: KernelPlan, batch: int, device: torch.device) -> torch.Tensor:
    """Bx3xSxS uint8."""
    pixels = torch.from_numpy(photograph((plan.size_px, plan.size_px)).copy()).to(device)
    return pixels.permute(2, 0, 1).repeat(batch, 1, 1, 1).contiguous()


def _jpeg_cases(plan: KernelPlan, batch: int, device: torch.device) -> Iterator[Case]:
    frames = _frames(plan, batch, device)
    pixels = batch * plan.size_px**2
    qf = torch.full((batch,), float(plan.qf), device=device)
    kornia = kornia_codec(plan.qf, device)
    for subsampling in plan.subsamplings:
        plain = subsampling == "4:2:0"
        case = Case(
            "jpeg_roundtrip",
            f"uint8, {subsampling}",
            FORWARD,
            batch,
            plan.size_px,
            traffic.jpeg_forward_traffic(pixels, 1, subsampling),
            partial(jpeg_roundtrip, qf=qf, subsampling=subsampling),
            (frames,),
            compiled=plain,
        )
        yield case
        for rounding, dtype in _CODECS:
            images = (frames.float() / 255.0).to(_DTYPES[dtype])
            function = partial(jpeg_simulate, qf=qf, subsampling=subsampling, rounding=rounding)
            for mode in (FORWARD, BACKWARD, BOTH):
                headline = plain and dtype == "fp32" and mode != BACKWARD
                yield replace(
                    case,
                    op="jpeg_simulate",
                    variant=f"{rounding}, {dtype}, {subsampling}",
                    mode=mode,
                    traffic=_jpeg_traffic(mode, pixels, images, subsampling, rounding),
                    function=function,
                    arguments=(images,),
                    compiled=headline,
                    kornia=kornia if headline and rounding == "ste" else None,
                )


def _jpeg_traffic(
    mode: str, pixels: int, images: torch.Tensor, subsampling: str, rounding: str
) -> Traffic:
    element = images.element_size()
    if mode == FORWARD:
        return traffic.jpeg_forward_traffic(pixels, element, subsampling, rounding)
    back = traffic.jpeg_backward_traffic(pixels, element, subsampling, rounding)
    if mode == BACKWARD:
        return back
    return back + traffic.jpeg_forward_traffic(pixels, element, subsampling, rounding, True)


def _batched_cases(plan: KernelPlan, batch: int, device: torch.device) -> Iterator[Case]:
    size, (width, height) = plan.size_px, plan.native_px
    native = torch.from_numpy(photograph(plan.native_px).copy()).to(device)
    moved = traffic.preprocess_traffic(batch, (height, width), size)
    arguments: tuple[Any, ...] = (native.repeat(batch, 1, 1, 1), size)
    variant = f"from {width}x{height}"
    yield Case("preprocess", variant, FORWARD, batch, size, moved, preprocess, arguments)
    arguments = (
        _frames(plan, batch, device).float() / 255.0,
        torch.tensor([_BOX], device=device).expand(batch, 4).contiguous(),
    )
    moved = traffic.place_traffic(batch, size)
    yield Case("place", "fp32", FORWARD, batch, size, moved, place, arguments)


def _single_cases(plan: KernelPlan, device: torch.device) -> Iterator[Case]:
    """What takes one image: each has a size of its own."""
    size, (width, height) = plan.size_px, plan.native_px
    native = torch.from_numpy(photograph(plan.native_px).copy()).to(device)
    residual = torch.randn(3, size, size, device=device)
    moved = traffic.residual_merge_traffic((height, width), size)
    arguments: tuple[Any, ...] = (native, residual, _PSNR_DB)
    variant = f"to {width}x{height}"
    yield Case(
        "residual_merge", variant, FORWARD, 1, size, moved, residual_merge, arguments,
        capturable=False,  # it returns a PSNR, for which it waits
        compiled=False,
    )  # fmt: skip
    recovered = _frames(plan, 1, device)[0].float() / 255.0
    box = x0, y0, x1, y1 = box_to_pixels(_BOX, width, height)
    received = native[y0:y1, x0:x1].contiguous()
    moved = traffic.composite_traffic((y1 - y0, x1 - x0), (height, width), size)
    arguments = (received, recovered, tuple(box), (width, height), _FEATHER_PX)
    yield Case("composite", variant, FORWARD, 1, size, moved, composite, arguments)
