"""What each network sees when real images pass the pipeline: to validate and to calibrate on."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["NetworkInputs", "pipeline_inputs"]

NetworkInputs = dict[str, dict[str, np.ndarray]]

_KEPT_MIN = 0.6
_QF_RANGE = (20.0, 95.0)


def pipeline_inputs(networks: nn.ModuleDict, frames: np.ndarray, seed: int = 0) -> NetworkInputs:
    """Protect images, cut a fragment out of each, and keep every network's inputs on the way.

    Args:
        networks: the served networks, eager, on the CPU.
        frames: real images, Bx3xSxS float32 in [0, 1].
        seed: of the crops, which keep 0.6 to 1 of each side, and of the quality factors.

    Returns:
        For each network its input tensors, float32 with batch B.
    """
    rng = np.random.default_rng(seed)
    count, size = len(frames), frames.shape[-1]
    kept = rng.uniform(_KEPT_MIN, 1.0, (count, 2))
    start = rng.uniform(0.0, 1.0, (count, 2)) * (1.0 - kept)
    corners = np.rint(np.concatenate([start, start + kept], axis=1) * size).astype(int)
    with torch.inference_mode():
        images = torch.from_numpy(frames)
        protected = torch.cat([_protect(networks, image[None]) for image in images])
        received = torch.cat(
            [
                F.interpolate(
                    image[None, :, y0:y1, x0:x1],
                    size=(size, size),
                    mode="bilinear",
                    antialias=True,
                    align_corners=False,
                )
                for image, (x0, y0, x1, y1) in zip(protected, corners, strict=True)
            ]
        ).clamp(0.0, 1.0)
        aligned = torch.cat([networks["align"](one[None]) for one in received])
    return {
        "protect": {"image": frames},
        "align": {"received": received.numpy()},
        "localize": {"received": received.numpy()},
        "recover": {"aligned": aligned.numpy(), "crop_box": (corners / size).astype(np.float32)},
        "fg_jpeg": {
            "image": np.rint(frames * 255.0).astype(np.float32) / 255.0,
            "qf": rng.uniform(*_QF_RANGE, count).astype(np.float32),
        },
    }


def _protect(networks: nn.ModuleDict, image: torch.Tensor) -> torch.Tensor:
    return (image + networks["protect"](image)).clamp(0.0, 1.0)
