"""The references on a CPU beside kornia's differentiable JPEG and Pillow's real round trip."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch

from ...kernels import jpeg_roundtrip, jpeg_simulate
from .peers import kornia_codec, libjpeg_batch
from .photographs import squares
from .plan import BOTH, FORWARD, KernelPlan
from .timing import keep_freed_memory, rounds, summary

__all__ = ["run_cpu"]

_CPU = torch.device("cpu")
_Codec = Callable[[torch.Tensor], torch.Tensor]


def run_cpu(plan: KernelPlan, say: Callable[[str], None]) -> dict[str, Any]:
    """Times and exactness, on the same images; ``load_before`` tells what else was running."""
    pixels, load = squares(plan.images), os.getloadavg()[0]
    kept = keep_freed_memory()
    times = []
    for threads in plan.threads:
        say(f"CPU: {plan.images} images, threads: {threads}")
        with _threads(threads):
            measured = rounds(_calls(plan, pixels), plan.seconds, plan.repeats)
        times += [
            {"contestant": name, "mode": mode, "threads": threads, **summary(found)}
            for (name, mode), found in measured.items()
        ]
    say("CPU: exactness")
    setting = {"shape": [plan.images, 3, *pixels.shape[1:3]], "qf": plan.qf, "subsampling": "4:2:0"}
    return {
        "setting": setting,
        "load_before": round(load, 2),
        "memory_kept": kept,
        "times": times,
        "exactness": list(_exactness(plan, pixels)),
    }


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _batch(pixels: np.ndarray) -> torch.Tensor:
    """BxHxWx3 uint8 to Bx3xHxW uint8."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def _simulators(qf: int) -> dict[str, _Codec]:
    """The differentiable codecs, by name."""
    ours: dict[str, _Codec] = {
        f"jpeg_simulate, {rounding}": partial(
            jpeg_simulate, qf=float(qf), rounding=rounding, impl="torch"
        )
        for rounding in ("ste", "soft")
    }
    kornia = kornia_codec(qf, _CPU)
    return ours if kornia is None else {**ours, "kornia": kornia}


def _calls(plan: KernelPlan, pixels: np.ndarray) -> dict[tuple[str, str], Callable[[], Any]]:
    whole = _batch(pixels)
    images = whole.float() / 255.0
    wanted = images.clone().requires_grad_()
    gradient = torch.rand_like(images)

    def forward(codec: _Codec) -> None:
        with torch.no_grad():
            codec(images)

    def both(codec: _Codec) -> None:
        torch.autograd.grad(codec(wanted), wanted, gradient)

    roundtrip = partial(jpeg_roundtrip, whole, float(plan.qf), impl="torch")
    calls: dict[tuple[str, str], Callable[[], Any]] = {("jpeg_roundtrip", FORWARD): roundtrip}
    for name, codec in _simulators(plan.qf).items():
        calls[name, FORWARD] = partial(forward, codec)
        calls[name, BOTH] = partial(both, codec)
    calls["Pillow", FORWARD] = partial(libjpeg_batch, pixels, plan.qf, "4:2:0")
    return calls


def _exactness(plan: KernelPlan, pixels: np.ndarray) -> Iterator[dict[str, Any]]:
    """How far the result of each codec, brought to 8 bits, is libjpeg's."""
    whole = _batch(pixels)
    for qf in plan.exact_at:
        real = _batch(libjpeg_batch(pixels, qf, "4:2:0"))
        results = {"jpeg_roundtrip": jpeg_roundtrip(whole, float(qf), impl="torch")}
        with torch.no_grad():
            for name, codec in _simulators(qf).items():
                levels = (codec(whole.float() / 255.0) * 255.0).round().clamp(0.0, 255.0)
                results[name] = levels.byte()
        for name, result in results.items():
            yield {"contestant": name, "qf": qf, "subsampling": "4:2:0", **_against(result, real)}


def _against(result: torch.Tensor, real: torch.Tensor) -> dict[str, float | None]:
    """Shares of equal pixels and values, and PSNR in dB, ``None`` where nothing differs."""
    equal = result == real
    error = float((result.double() - real.double()).square().mean())
    return {
        "pixels_equal": round(float(equal.all(1).double().mean()), 6),
        "values_equal": round(float(equal.double().mean()), 6),
        "psnr_db": round(10.0 * float(np.log10(255.0**2 / error)), 2) if error else None,
    }
