"""Constants where the tensors are that they meet."""

import functools

import torch

__all__ = ["constant_like"]


def constant_like(constant: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """A constant on the device and in the type of another tensor, copied there once.

    On a GPU a copy in each call would wait, and no CUDA graph could hold it.

    Args:
        constant: a tensor that lives as long as the program; the result is not to be changed.
        like: any tensor.
    """
    if torch.compiler.is_compiling():  # what is kept outlives the graph
        return constant.to(like)
    return _kept(constant, like.device, like.dtype)


@functools.cache
def _kept(constant: torch.Tensor, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    with torch.inference_mode(False):  # what is kept may meet a gradient later
        return constant.to(device, dtype)
