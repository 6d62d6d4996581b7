"""The OpenAI Triton language where it is installed; without it, kernels are named but cannot run.

Triton is optional: it comes with GPU builds of PyTorch on Linux alone. Kernel files import ``jit``
and ``tl`` from here and begin with ``from __future__ import annotations``, so that they import
everywhere; :func:`clr_infer.kernels.dispatch.resolve` keeps what is missing from being launched.
"""

try:
    import triton.language as tl
    from triton import constexpr_function, jit
except ImportError:
    tl = None

    def constexpr_function(function):  # noqa: ANN001, ANN201
        """Leave a function as it is written: nothing here can compile it."""
        return function

    def jit(function=None, **_):  # noqa: ANN001, ANN003, ANN201
        """The same, with or without options."""
        return constexpr_function if function is None else function


__all__ = ["ANY_SIZE", "HAS_TRITON", "constexpr_function", "jit", "tl"]

HAS_TRITON = tl is not None
"""Whether Triton kernels can be compiled or interpreted here."""

ANY_SIZE = ("height", "padded_height", "cells_x")
"""Arguments of the codec on which no address's alignment depends: one machine code for every value
of them, or images of many sizes would wait for the compiler again and again."""
