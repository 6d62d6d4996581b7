"""Refined protection: a payload improved for one image, in seconds instead of milliseconds.

The protect network writes the payload of any image in one pass. Given time, that of a single image
can be improved at the same strength: by descending the loss of training over crops and
post-processing drawn anew in each step, with the networks that will read it held as they are.
Beside what the recover network makes of it, the loss counts what the perturbation costs in SSIM,
and how surely the localize network finds the template, which stays what it is, in the midst of the
payload.
"""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from .errors import RuntimeUnavailable
from .preprocess import reduce_pixels, to_frame
from .processor import multiplies_bfloat16
from .runtimes.torch_eager import cpu_threads
from .weights import Weights

if TYPE_CHECKING:
    import torch

__all__ = ["REFINE_STEPS_MAX", "Refiner"]

REFINE_STEPS_MAX = 1000

_RATE = 0.15
"""Size of a step at the start, as a share of the payload's own deviation."""

_VISIBILITY = 3.0
"""Weight of what the perturbation costs in SSIM."""

_KEPT_MIN = 0.5
_NATIVE_AREA_MAX = 2.0
"""Post-processing is drawn at the image's size, up to this many times the frame's area."""


class Refiner:
    """Improves payloads, one image at a time.

    Args:
        weights: of the networks.
        threads: of the CPU; ``None`` takes what PyTorch takes.

    Raises:
        RuntimeUnavailable: PyTorch is missing.
        WeightsError: the weights do not fit these networks.
    """

    def __init__(self, weights: Weights, threads: int | None = None) -> None:
        try:
            import torch

            from .networks.served import load_served
        except ImportError as error:
            raise RuntimeUnavailable(
                'refined protection needs PyTorch: pip install "clr_infer[export]"'
            ) from error
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        with torch.inference_mode(False):  # whatever the caller is in: gradients go through them
            networks = load_served(weights, self.device.type)
        self._protect, self._align = networks["protect"], networks["align"]
        self._recover, self._localize = networks["recover"], networks["localize"]
        self._lock, self._threads = threading.Lock(), threads

    def residual(
        self,
        pixels: np.ndarray,
        steps: int,
        seed: int = 0,
        progress: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """A residual like that of the protect network, for one image.

        Args:
            pixels: the original, HxWx3 uint8.
            steps: of gradient descent; 0 leaves what the network made.
            seed: of the crops and the post-processing.
            progress: called after each step with how many are done; what it raises ends them.

        Returns:
            3xSxS float32, at the network's nominal strength.
        """
        import torch

        with self._lock, cpu_threads(self._threads):
            with torch.inference_mode(False), torch.enable_grad():
                return self._descend(pixels, steps, np.random.default_rng(seed), progress)

    def _descend(
        self,
        pixels: np.ndarray,
        steps: int,
        rng: np.random.Generator,
        progress: Callable[[int], None] | None,
    ) -> np.ndarray:
        import torch

        size = self._protect.size
        frame = torch.from_numpy(to_frame(pixels, size))[None].to(self.device)
        native = torch.tensor(reduce_pixels(pixels, _NATIVE_AREA_MAX * size**2))
        native = native.permute(2, 0, 1)[None].to(self.device) / 255.0
        with torch.no_grad():
            payload = self._protect.payload(frame)
            power = self._shaped(payload, frame).square().mean()
        scale = float(payload.std())
        change = torch.zeros_like(payload, requires_grad=True)
        optimizer = torch.optim.Adam([change], betas=(0.8, 0.95))
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = _RATE * scale * (1.0 - step / steps)
            residual = self._shaped(payload + change, frame, power)
            (change.grad,) = torch.autograd.grad(self._loss(residual, frame, native, rng), change)
            optimizer.step()
            if progress is not None:
                progress(step + 1)
        with torch.no_grad():
            residual = self._shaped(payload + change, frame, power)
        return residual[0].cpu().numpy()

    def _shaped(
        self,
        payload: "torch.Tensor",
        frame: "torch.Tensor",
        power: "torch.Tensor | None" = None,
    ) -> "torch.Tensor":
        """The residual of a payload, scaled to a power that ceilings may have taken from it."""
        residual = self._protect.shape(payload, frame, self._protect.nominal_psnr_db)
        return residual if power is None else residual * (power / residual.square().mean()).sqrt()

    def _loss(
        self,
        residual: "torch.Tensor",
        frame: "torch.Tensor",
        native: "torch.Tensor",
        rng: np.random.Generator,
    ) -> "torch.Tensor":
        """What is wrong with a residual, 1x3xSxS, after one crop and some post-processing."""
        from .attacks.curriculum import draw_attack
        from .attacks.simulate import beside, resize
        from .kernels.reference import place
        from .train.forward import (
            attack_alike,
            merge_residual,
            protection_loss,
            recovery_loss,
        )

        attack = draw_attack(rng, 1.0, _KEPT_MIN)
        views = attack_alike(merge_residual(native, residual), [attack], rng)
        received = resize(views.received, *frame.shape[-2:])
        crop_box = beside(received, views.crop_box)
        with self._precision():
            aligned = self._align(received)
        canvas, mask = place(aligned.float(), crop_box)
        with self._precision():
            reading = self._recover.read(canvas, mask)
        recovered, _ = recovery_loss(reading, frame, mask)
        cost, _ = protection_loss(self._localize, residual, frame, received, crop_box, _VISIBILITY)
        return recovered + cost

    def _precision(self) -> "torch.autocast":
        """bfloat16 where that is quick, as in training: the networks that read, not the payload."""
        import torch

        quick = self.device.type != "cpu" or multiplies_bfloat16()
        return torch.autocast(self.device.type, torch.bfloat16, enabled=quick)
