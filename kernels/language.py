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

    def jit(function):  # noqa: ANN001, ANN201
        """Leave a kernel as it is written: nothing here can compile it."""
        return function

    constexpr_function = jit


__all__ = ["HAS_TRITON", "constexpr_function", "jit", "tl"]

HAS_TRITON = tl is not None
"""Whether Triton kernels can be compiled or interpreted here."""
