"""Which machine codes Triton would compile for the operations; run without TRITON_INTERPRET.

Nothing is launched and no GPU is needed: outputs are made of ones, and of each launch the types,
the constants and what Triton specialises on are printed as JSON.
"""

import json
from collections.abc import Iterator

import torch
from clr_infer.kernels import dispatch, jpeg
from triton.backends.compiler import GPUTarget
from triton.compiler import make_backend
from triton.runtime.jit import JITFunction, create_function_from_signature

from clr_infer import kernels

SIZES = [(1, 1), (7, 9), (16, 16), (17, 33), (40, 3), (48, 32), (64, 16), (75, 128), (300, 256)]
FRAME = 64
_BACKEND = make_backend(GPUTarget("cuda", 90, 32))
_found: dict[str, dict] = {}


def _record(kernel, *arguments, grid, warmup, **options) -> None:
    bind = create_function_from_signature(kernel.signature, kernel.params, _BACKEND)
    bound, specialisation, _ = bind(*arguments, **options)
    constants = {p.name: bound[p.name] for p in kernel.params if p.is_constexpr}
    pairs = {p.name: pair for p, pair in zip(kernel.params, specialisation, strict=True)}
    kinds = {n: pair[0] for n, pair in pairs.items() if isinstance(bound[n], torch.Tensor)}
    key = json.dumps([kernel.__name__, constants, kinds])
    seen = _found.setdefault(
        key, {"kernel": kernel.__name__, "constants": constants, "types": kinds, "codes": []}
    )
    code = str({n: pair for n, pair in pairs.items() if n not in constants})
    if code not in seen["codes"]:
        seen["codes"].append(code)


def _serve(height: int, width: int) -> None:
    image = torch.zeros(height, width, 3, dtype=torch.uint8)
    kernels.preprocess(image, FRAME, "triton")
    kernels.residual_merge(image, torch.ones(3, FRAME, FRAME), 40.0, "triton")
    frame = torch.zeros(3, FRAME, FRAME)
    for left, top, right, bottom in ((0, 0, 0, 0), (1, 16, 16, 1), (32, 5, 7, 96)):
        box = (left, top, left + width, top + height)
        canvas = (box[2] + right, box[3] + bottom)
        kernels.composite(image, frame, box, canvas, 6, "triton")
    kernels.composite(image[:1, :1], frame, (3, 4, 4, 5), (FRAME, FRAME), 6, "triton")
    kernels.place(frame[None], torch.tensor([[0.0, 0.0, 1.0, 1.0]]), "triton")


def _codec(height: int, width: int) -> None:
    pixels = torch.zeros(2, 3, height, width, dtype=torch.uint8)
    qf = torch.tensor([50.0, 60.0])
    for subsampling in ("4:4:4", "4:2:2", "4:2:0"):
        kernels.jpeg_roundtrip(pixels, qf, subsampling, "triton")
        for rounding in ("ste", "soft"):
            images, learned = pixels.float().requires_grad_(), qf.clone().requires_grad_()
            out = kernels.jpeg_simulate(images, learned, subsampling, rounding, "triton")
            out.sum().backward()


def _stages() -> None:
    for dtype in (torch.int32, torch.float32):
        rgb, plane = torch.ones(1, 3, 16, 16, dtype=dtype), torch.ones(1, 16, 16, dtype=dtype)
        kernels.rgb_to_ycbcr(rgb, "triton")
        kernels.downsample(plane, "4:2:0", "triton")
        kernels.upsample(plane, "4:2:0", "triangle", "triton")
        kernels.dct_blocks(torch.ones(1, 8, 8, dtype=dtype), "triton")
        steps = torch.ones(8, 8)
        kernels.quantise(torch.ones(1, 8, 8, dtype=dtype), steps, "soft", "triton")


def recorded() -> Iterator[dict]:
    """Each kernel with its constants and types of tensors, and the codes that these sizes need."""
    JITFunction.run = _record
    dispatch._interpreting = lambda: True
    jpeg._threads = lambda mcus: 128
    torch.empty = torch.ones
    for size in SIZES:
        _serve(*size)
        _codec(*size)
    _stages()
    yield from _found.values()


if __name__ == "__main__":
    print(json.dumps(list(recorded())))
