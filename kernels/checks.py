"""What is asked of arguments: each check raises a ValueError that names the argument."""

import torch

__all__ = [
    "MAX_VALUES",
    "check_box",
    "check_crop_boxes",
    "check_frame",
    "check_frames",
    "check_image",
    "check_images",
    "check_size",
    "same_device",
]

MAX_VALUES = 2**31 - 1
"""Kernels count the values of one image in 32 bits."""


def _check(name: str, tensor: torch.Tensor, dtype: torch.dtype, fits: bool, shape: str) -> None:
    if not isinstance(tensor, torch.Tensor):
        raise ValueError(f"{name} must be a tensor, not {type(tensor).__name__}")
    if tensor.dtype != dtype:
        raise ValueError(f"{name} must be {dtype}, not {tensor.dtype}")
    if not fits or 0 in tensor.shape:
        raise ValueError(f"{name} must be {shape} and not empty, not {tuple(tensor.shape)}")


def check_image(name: str, image: torch.Tensor) -> None:
    """An 8-bit image, HxWx3."""
    fits = image.ndim == 3 and image.shape[-1] == 3
    _check(name, image, torch.uint8, fits, "HxWx3")
    if image.numel() > MAX_VALUES:
        raise ValueError(f"{name} has {image.numel()} values; the limit is {MAX_VALUES}")


def check_images(name: str, images: torch.Tensor) -> None:
    """An 8-bit image, HxWx3, or several of one size, BxHxWx3."""
    fits = images.ndim in (3, 4) and images.shape[-1] == 3
    _check(name, images, torch.uint8, fits, "HxWx3 or BxHxWx3")
    if images.shape[-3:].numel() > MAX_VALUES:
        raise ValueError(f"{name} are too large: an image has at most {MAX_VALUES} values")


def check_frame(name: str, frame: torch.Tensor) -> None:
    """A frame, 3xSxS float32."""
    fits = frame.ndim == 3 and frame.shape[0] == 3 and frame.shape[1] == frame.shape[2]
    _check(name, frame, torch.float32, fits, "3xSxS")


def check_frames(name: str, frames: torch.Tensor) -> None:
    """Frames, Bx3xSxS float32."""
    fits = frames.ndim == 4 and frames.shape[1] == 3 and frames.shape[2] == frames.shape[3]
    _check(name, frames, torch.float32, fits, "Bx3xSxS")


def check_crop_boxes(name: str, boxes: torch.Tensor, batch: int) -> None:
    """Crop boxes, Bx4 float32, one for each of a batch; their values are not looked at."""
    _check(name, boxes, torch.float32, tuple(boxes.shape) == (batch, 4), f"{batch}x4")


def check_size(name: str, size: int) -> None:
    """The side of a frame."""
    if size < 1:
        raise ValueError(f"{name} must be at least 1, not {size}")


def same_device(name: str, tensor: torch.Tensor, other: str, than: torch.Tensor) -> None:
    """Two arguments lie on one device."""
    if tensor.device != than.device:
        raise ValueError(f"{name} is on {tensor.device} and {other} on {than.device}")


def check_box(
    box_px: tuple[int, int, int, int], canvas_px: tuple[int, int], received: torch.Tensor
) -> None:
    """A received image, hxwx3, lies at ``box_px`` of a canvas of ``canvas_px``, whole."""
    x0, y0, x1, y1 = box_px
    width, height = canvas_px
    if min(width, height) < 1 or 3 * width * height > MAX_VALUES:
        raise ValueError(f"canvas_px must be at least 1x1 and not too large, not {width}x{height}")
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise ValueError(f"box_px {tuple(box_px)} must lie in the canvas, {width}x{height} pixels")
    if (y1 - y0, x1 - x0) != received.shape[:2]:
        wide, high = received.shape[1], received.shape[0]
        raise ValueError(f"box_px {tuple(box_px)} must be as large as received, {wide}x{high}")
