"""Refined protection: a payload improved for one image, in seconds instead of milliseconds.

The protect network writes the payload of any image in one pass. Given time, that of a single image
can be improved: by descending the loss of training over crops and post-processing drawn anew in
each step, with the align and recover networks, which will read it, held as they are. The
synchronisation template stays what it is.
"""

import threading

import numpy as np

from .errors import RuntimeUnavailable
from .preprocess import reduce_pixels, to_frame
from .weights import Weights

__all__ = ["REFINE_STEPS_MAX", "Refiner"]

REFINE_STEPS_MAX = 1000

_RATE = 0.15
"""Size of a step at the start, as a share of the payload's own deviation."""

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
        networks = load_served(weights, self.device.type)
        self._protect, self._align = networks["protect"], networks["align"]
        self._recover = networks["recover"]
        self._lock, self._threads = threading.Lock(), threads

    def residual(self, pixels: np.ndarray, steps: int, seed: int = 0) -> np.ndarray:
        """A residual like that of the protect network, for one image.

        Args:
            pixels: the original, HxWx3 uint8.
            steps: of gradient descent; 0 leaves what the network made.
            seed: of the crops and the post-processing.

        Returns:
            3xSxS float32, at the network's nominal strength.
        """
        import torch

        with self._lock:
            before = torch.get_num_threads()
            torch.set_num_threads(self._threads or before)
            try:
                return self._descend(pixels, steps, np.random.default_rng(seed))
            finally:
                torch.set_num_threads(before)

    def _descend(self, pixels: np.ndarray, steps: int, rng: np.random.Generator) -> np.ndarray:
        import torch

        from .attacks.curriculum import draw_attack
        from .attacks.simulate import beside, resize
        from .kernels.reference import place
        from .train.forward import attack_alike, merge_residual, recovery_loss

        size, strength = self._protect.size, self._protect.nominal_psnr_db
        frame = torch.from_numpy(to_frame(pixels, size))[None].to(self.device)
        native = torch.tensor(reduce_pixels(pixels, _NATIVE_AREA_MAX * size**2))
        native = native.permute(2, 0, 1)[None]
        native = native.to(self.device) / 255.0
        with torch.no_grad():
            payload = self._protect.payload(frame)
        scale = float(payload.std())
        change = torch.zeros_like(payload, requires_grad=True)
        optimizer = torch.optim.Adam([change], betas=(0.8, 0.95))
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = _RATE * scale * (1.0 - step / steps)
            residual = self._protect.shape(payload + change, frame, strength)
            attack = draw_attack(rng, 1.0, _KEPT_MIN)
            views = attack_alike(merge_residual(native, residual), [attack], rng)
            aligned = self._align(resize(views.received, size, size))
            canvas, mask = place(aligned, beside(aligned, views.crop_box))
            loss, _ = recovery_loss(self._recover.read(canvas, mask), frame, mask)
            (change.grad,) = torch.autograd.grad(loss, change)
            optimizer.step()
        with torch.no_grad():
            residual = self._protect.shape(payload + change, frame, strength)
        return residual[0].cpu().numpy()
