"""Which implementation of an operation runs, plain PyTorch or a Triton kernel, and where."""

import logging
from typing import Any, Literal

import torch

from .language import HAS_TRITON

__all__ = ["IMPLS", "Impl", "KernelUnavailable", "launch", "resolve"]

Impl = Literal["auto", "torch", "triton"]
IMPLS = ("auto", "torch", "triton")

_log = logging.getLogger(__name__)
_said: set[tuple[str, str]] = set()


class KernelUnavailable(RuntimeError):
    """The implementation asked for cannot run here; the message says what to do."""


def _interpreting() -> bool:
    """Whether Triton kernels are interpreted, on any device, instead of compiled."""
    if not HAS_TRITON:
        return False
    from triton import knobs

    return bool(knobs.runtime.interpret)


def resolve(op: str, impl: Impl, device: torch.device | str) -> Literal["torch", "triton"]:
    """Choose the implementation of an operation.

    Args:
        op: name of the operation, for messages.
        impl: ``"torch"`` always works. ``"triton"`` needs Triton and a CUDA device, or any device
            while ``TRITON_INTERPRET=1`` stood in the environment when Python started. ``"auto"``
            takes Triton for CUDA tensors where it is installed, else PyTorch, and says so once
            in the log.
        device: where the operation's tensors are.

    Raises:
        KernelUnavailable: ``"triton"`` was asked for and cannot run on these tensors here.
        ValueError: there is no such ``impl``.
    """
    if impl not in IMPLS:
        raise ValueError(f"impl must be one of {', '.join(IMPLS)}, not {impl!r}")
    on_cuda = torch.device(device).type == "cuda"
    if impl == "auto":
        if on_cuda and HAS_TRITON:
            return "triton"
        _say_once(op, on_cuda)
        return "torch"
    if impl == "triton":
        if not HAS_TRITON:
            raise KernelUnavailable(
                f'{op}: impl="triton" needs the package triton: pip install "clr_infer[gpu]" '
                '(Linux only), or take impl="torch"'
            )
        if not on_cuda and not _interpreting():
            raise KernelUnavailable(
                f'{op}: impl="triton" needs tensors on a CUDA device, not on {device}: move them, '
                'take impl="torch", or start Python with TRITON_INTERPRET=1 to debug the kernel'
            )
    return impl


def _say_once(op: str, on_cuda: bool) -> None:
    reason = "triton is not installed" if on_cuda else "the tensors are not on a CUDA device"
    if (op, reason) in _said:
        return
    _said.add((op, reason))
    level = logging.WARNING if on_cuda else logging.INFO
    _log.log(level, "%s: plain PyTorch, since %s", op, reason)


def launch(
    kernel: Any, grid: tuple[int, ...], first: torch.Tensor, *arguments: Any, **constants: Any
) -> None:
    """Launch a Triton kernel on the device of its tensors; Triton alone takes the current one.

    Args:
        kernel: the function under ``@jit``.
        grid: numbers of programs.
        first: argument of the kernel, a tensor where all the others are.
        arguments: the rest of them.
        constants: of the kernel and of the compiler, by name.
    """
    with torch.cuda.device_of(first):
        kernel[grid](first, *arguments, **constants)
