"""The JPEG round trip on a GPU: launchers, autograd, and the two public functions.

    4:4:4             images -> [codec] -> images                            one pass
    4:2:2, 4:2:0      images -> [codec] -> planes -> [upsample] -> images    12.5 % more bytes
    way back          gradient, six bits a pixel -> gradient                 one pass
    of 4:2:0          gradient, six bits a pixel -> planes -> gradient       two passes
    of soft rounding  gradient -> planes -> [codec, way back] -> gradient    three passes

(bytes for fp32 images; the planes hold 8 bits a sample, 16 when a gradient is wanted, 32 on the way
back.)
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from . import reference
from .codec import codec_backward_kernel, codec_kernel, codec_rgb_kernel
from .dispatch import Impl, launch, resolve
from .jpeg_checks import check_pixels, check_simulate, rounded_tables_for, tables_for
from .options import (
    SUBSAMPLING_FACTORS,
    Rounding,
    Subsampling,
    padded_size,
    upsampling_of,
)
from .reference.jpeg import draw_seed
from .reference.subsample import pad_edge
from .subsample import planes_backward_kernel, planes_to_rgb_kernel, rgb_backward_kernel

__all__ = ["jpeg_roundtrip", "jpeg_simulate"]


def _threads(mcus: int) -> int:
    """Threads of a codec program, eight for each MCU: few while that is what fills a large GPU."""
    return 128 if mcus >= 16 * 4 * 132 else 32


class _Plan:
    """The shapes and launch parameters of one call.

    Args:
        images: Bx3xHxW, W a multiple of 16.
        width: of the images before they were padded.
        subsampling: chroma subsampling.
    """

    def __init__(self, images: torch.Tensor, width: int, subsampling: Subsampling) -> None:
        self.batch, _, self.height, self.width = images.shape
        self.padded_height = padded_size(self.height, self.width, subsampling)[0]
        self.down = SUBSAMPLING_FACTORS[subsampling]
        self.cells_x = -(-width // self.down[1])
        self.triangle = upsampling_of(width, subsampling) == "triangle"
        self.factors = {"DY": self.down[0], "DX": self.down[1]}
        mcus = self.padded_height * self.width // (64 * self.down[0] * self.down[1])
        self.threads = _threads(self.batch * mcus)
        self.grid = (-(-mcus * 8 // self.threads), self.batch)
        self.launch = {"N": self.threads, "num_warps": self.threads // 32}
        self.device = images.device

    def planes(self, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """Fresh luma and chroma."""
        rows, cols = self.padded_height // self.down[0], self.width // self.down[1]
        luma = torch.empty(
            (self.batch, self.padded_height, self.width), dtype=dtype, device=self.device
        )
        chroma = torch.empty((self.batch, 2, rows, cols), dtype=dtype, device=self.device)
        return luma, chroma

    def strips(self, rows: int) -> tuple[int, int]:
        """The grid of a kernel whose threads own eight columns each of ``rows`` pixel rows."""
        count = -(-self.height // rows) * self.width // 8
        return -(-count // self.threads), self.batch


def _wide(tensor: torch.Tensor) -> int:
    """How :func:`.dct.load8` should load a tensor of this type."""
    return 4 if tensor.element_size() == 4 else 8


def _forward(
    images: torch.Tensor,
    tables: torch.Tensor,
    width: int,
    subsampling: Subsampling,
    rounding: str,
    seed: int,
    mark: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The result, Bx3xHxW, and ``inside``, BxHxW (empty unless ``mark``)."""
    plan = _Plan(images, width, subsampling)
    size = (plan.batch, plan.height, plan.width) if mark else (0,)
    inside = torch.empty(size, dtype=torch.uint8, device=images.device)
    out = torch.empty_like(images)
    constants: dict[str, Any] = {"ROUNDING": rounding, "WIDE": _wide(images), **plan.launch}
    whole = (plan.height, plan.width, seed)
    if subsampling == "4:4:4":
        launch(
            codec_rgb_kernel, plan.grid, images, tables, out, inside, *whole, MARK=mark, **constants
        )
        return out, inside
    kind = torch.float32 if rounding != "exact" else torch.int16 if mark else torch.uint8
    luma, chroma = plan.planes(kind)
    constants |= plan.factors
    launch(
        codec_kernel, plan.grid, images, tables, luma, chroma, *whole, WIDE_OUT=_wide(luma),
        **constants,
    )  # fmt: skip
    launch(
        planes_to_rgb_kernel, plan.strips(plan.down[0]), luma, chroma, out, inside, plan.height,
        plan.width, plan.padded_height, plan.cells_x, DY=plan.down[0], TRIANGLE=plan.triangle,
        MARK=mark, WIDE=_wide(luma), WIDE_OUT=_wide(out), **plan.launch,
    )  # fmt: skip
    return out, inside


def _backward_straight(
    gradient: torch.Tensor, inside: torch.Tensor, width: int, subsampling: Subsampling
) -> torch.Tensor:
    """The gradient of the images, where the rounding passes it unchanged.

    In one pass, but for 4:2:0: compiled on an H200 (Triton 3.6) that pass was wrong by up to 0.5 in
    some rows, though right in the interpreter. Its two halves are right.
    """
    plan = _Plan(gradient, width, subsampling)
    out = torch.empty_like(gradient)
    fused = plan.down[0] == 1
    luma, chroma = (out, out) if fused else plan.planes(torch.float32)
    launch(
        rgb_backward_kernel, plan.strips(plan.down[0]), gradient, inside, out, luma, chroma,
        plan.height, plan.width, plan.padded_height, plan.cells_x, TRIANGLE=plan.triangle,
        FUSED=fused, WIDE=_wide(out), **plan.factors, **plan.launch,
    )  # fmt: skip
    if not fused:
        launch(
            planes_backward_kernel, plan.strips(1), luma, chroma, out, plan.height, plan.width,
            plan.padded_height, WIDE=_wide(out), **plan.factors, **plan.launch,
        )  # fmt: skip
    return out


def _backward_soft(
    gradient: torch.Tensor,
    images: torch.Tensor,
    tables: torch.Tensor,
    inside: torch.Tensor,
    width: int,
    subsampling: Subsampling,
    for_tables: bool,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The gradients of the images and of the tables."""
    plan = _Plan(images, width, subsampling)
    out = torch.empty_like(images)
    luma, chroma = plan.planes(torch.float32)
    launch(
        rgb_backward_kernel, plan.strips(plan.down[0]), gradient, inside, out, luma, chroma,
        plan.height, plan.width, plan.padded_height, plan.cells_x, TRIANGLE=plan.triangle,
        FUSED=False, WIDE=_wide(out), **plan.factors, **plan.launch,
    )  # fmt: skip
    jobs = plan.down[0] * plan.down[1] + 2
    size = (plan.batch, plan.grid[0], jobs, 8, 8) if for_tables else (0,)
    partials = torch.empty(size, dtype=torch.float32, device=images.device)
    launch(
        codec_backward_kernel, plan.grid, images, tables, luma, chroma, partials, plan.height,
        plan.width, TABLES=for_tables, WIDE=_wide(images), **plan.factors, **plan.launch,
    )  # fmt: skip
    _fold_padding(luma, plan.height)
    _fold_padding(chroma, -(-plan.height // plan.down[0]))
    launch(
        planes_backward_kernel, plan.strips(1), luma, chroma, out, plan.height, plan.width,
        plan.padded_height, WIDE=_wide(out), **plan.factors, **plan.launch,
    )  # fmt: skip
    if not for_tables:
        return out, None
    by_job = partials.sum(1) / 255.0
    by_table = torch.stack([by_job[:, :-2].sum(1), by_job[:, -2:].sum(1)], 1)
    return out, by_table


def _fold_padding(plane: torch.Tensor, height: int) -> None:
    """Add what reached the padding rows, in place, to the row that they repeat."""
    if plane.shape[-2] > height:
        plane[..., height - 1, :] += plane[..., height:, :].sum(-2)


class _Codec(torch.autograd.Function):
    """The simulated round trip of images whose width is a multiple of 16."""

    @staticmethod
    def forward(ctx, images, tables, width, subsampling, rounding, seed):  # noqa: ANN001, ANN205
        """Keep what the way back needs: six bits a pixel, and for soft rounding the images."""
        kind = "exact" if rounding == "ste" else rounding
        out, inside = _forward(images, tables, width, subsampling, kind, seed, mark=True)
        ctx.options = (width, subsampling)
        ctx.save_for_backward(inside, *((images, tables) if rounding == "soft" else ()))
        return out

    @staticmethod
    def backward(ctx, gradient):  # noqa: ANN001, ANN205
        """Straight through, or through the slope of soft rounding; both differentiable once."""
        return *_backward(ctx, gradient, *ctx.saved_tensors), None, None, None, None


@once_differentiable
def _backward(ctx, gradient, inside, *coded):  # noqa: ANN001, ANN002, ANN202
    """The gradients of images and tables; all that they depend on is an argument.

    Whoever differentiates them again, by the gradient or by the images, gets an error.
    """
    gradient = gradient.contiguous()
    if not coded:
        return _backward_straight(gradient, inside, *ctx.options), None
    return _backward_soft(
        gradient, *coded, inside, *ctx.options, for_tables=ctx.needs_input_grad[1]
    )


def _in_pairs_of_blocks(images: torch.Tensor) -> torch.Tensor:
    """Contiguous images whose width is a multiple of 16, the last column repeated."""
    return pad_edge(images, 0, -(-images.shape[-1] // 16) * 16).contiguous()


def jpeg_roundtrip(
    images: torch.Tensor,
    qf: torch.Tensor | float,
    subsampling: Subsampling = "4:2:0",
    impl: Impl = "auto",
) -> torch.Tensor:
    """Encode and decode images as libjpeg-turbo does, bit for bit.

    Equal to Pillow's ``save(quality=qf, subsampling=...)`` and ``open``; no entropy coding takes
    place, since it loses nothing.

    Args:
        images: Bx3xHxW uint8 RGB; any H and W of at least 1.
        qf: quality factors, B or one, 1 to 100; floored to the tables' integers as libjpeg does.
        subsampling: ``"4:4:4"``, ``"4:2:2"`` or ``"4:2:0"``.
        impl: ``"auto"``, ``"torch"`` or ``"triton"``, see :func:`.dispatch.resolve`.

    Returns:
        Bx3xHxW uint8.

    Raises:
        ValueError: an argument cannot be used; the message names it.
        KernelUnavailable: ``impl="triton"`` cannot run here.
    """
    check_pixels(images, subsampling)
    if resolve("jpeg_roundtrip", impl, images.device) == "torch":
        return reference.jpeg_roundtrip(images, qf, subsampling)
    tables = rounded_tables_for(images, qf)
    width = images.shape[-1]
    padded = _in_pairs_of_blocks(images)
    out, _ = _forward(padded, tables, width, subsampling, "exact", 0, mark=False)
    return out[..., :width]


def jpeg_simulate(
    images: torch.Tensor,
    qf: torch.Tensor | float | None,
    subsampling: Subsampling = "4:2:0",
    rounding: Rounding = "ste",
    impl: Impl = "auto",
    tables: torch.Tensor | None = None,
) -> torch.Tensor:
    """Pass images through a JPEG round trip that gradients can pass.

    Args:
        images: Bx3xHxW, floating, in [0, 1]; any H and W of at least 1. They are brought to the
            nearest 8-bit pixels, straight through.
        qf: quality factors, B or one, 1 to 100, continuous.
        subsampling: ``"4:4:4"``, ``"4:2:2"`` or ``"4:2:0"``.
        rounding: of the coefficients. ``"hard"`` and ``"ste"`` have the values of the real codec,
            the one without a gradient, the other with that of the codec without any rounding.
            ``"soft"`` and ``"noise"`` are the surrogates of :mod:`.reference.quantize`.
        impl: ``"auto"``, ``"torch"`` or ``"triton"``, see :func:`.dispatch.resolve`.
        tables: explicit quantisation tables, Bx2x8x8 or 1x2x8x8, 1 to 255, in place of ``qf``;
            rounded to whole numbers for ``"hard"`` and ``"ste"``.

    Returns:
        Bx3xHxW in [0, 1], of the type of ``images``; on 8-bit levels for ``"hard"`` and
        ``"ste"``. Gradients reach ``images``, and with ``"soft"`` also ``qf`` and ``tables``.

    Raises:
        ValueError: an argument cannot be used; the message names it. On a GPU values are not
            read back: there NaN counts as 0, and a wrong ``qf`` trips a device assertion.
        KernelUnavailable: ``impl="triton"`` cannot run here.
    """
    check_simulate(images, subsampling, rounding)
    if resolve("jpeg_simulate", impl, images.device) == "torch":
        return reference.jpeg_simulate(images, qf, subsampling, rounding, tables)
    learned = rounding == "soft" and isinstance(qf, torch.Tensor) and qf.requires_grad
    if tables is None and not learned:
        steps = rounded_tables_for(images, qf)
    else:
        steps = tables_for(images, qf, tables).float()
    if rounding != "soft":
        steps = steps.detach()
    if rounding in ("hard", "ste") and tables is not None:
        steps = steps.round()
    width = images.shape[-1]
    seed = draw_seed() if rounding == "noise" else 0
    padded = _in_pairs_of_blocks(images)
    wanted = images.requires_grad or steps.requires_grad
    if rounding != "hard" and wanted and torch.is_grad_enabled():
        out = _Codec.apply(padded, steps.contiguous(), width, subsampling, rounding, seed)
    else:
        kind = "exact" if rounding in ("hard", "ste") else rounding
        steps = steps.detach().contiguous()
        out, _ = _forward(padded.detach(), steps, width, subsampling, kind, seed, mark=False)
    return out[..., :width]
