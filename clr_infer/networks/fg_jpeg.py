"""FG-JPEG: a generative JPEG simulator conditioned on a continuous quality factor.

The plain differentiable core replaces the rounding of DCT coefficients by a smooth surrogate, and
is off by what the surrogate leaves. FG-JPEG puts a small network in its place: it sees each
coefficient, its distance to the nearest level, its frequency and the quality factor, and says
where the real codec would have put it.

Trained against libjpeg it learns a staircase, whose slope is zero or noise nearly everywhere: what
is trained through it would learn little. So the coefficients' gradient goes past the network,
straight through, and only the value is the network's.
"""

import torch
from torch import nn

from ..kernels.jpeg_tables import quantisation_tables
from ..kernels.options import Subsampling
from ..kernels.reference.float_codec import Coefficients, decode, encode
from ..kernels.reference.quantize import round_half_away
from .blocks import activate

__all__ = ["FgJpegNetwork", "QfPredictor"]

_FEATURES = 5
_LOW = (0, 1, 8, 16, 9, 2, 3, 10, 17, 24)
"""The ten lowest frequencies in zigzag order, as row-major indices: what the QF predictor reads."""


def _embed_qf(qf: torch.Tensor) -> torch.Tensor:
    """Quality factors, B, to smooth features Bx8 of the scale of the quantisation table."""
    scale = quantisation_tables(qf, rounded=False)[:, 0, 0, :1].log() / 4.0
    harmonics = torch.arange(1, 5, device=qf.device) * torch.pi * (qf[:, None] / 100.0)
    return torch.cat([scale, qf[:, None] / 100.0, harmonics.sin(), harmonics.cos()[:, :2]], dim=1)


class _Corrector(nn.Module):
    """Say where the codec rounds a coefficient to, one plane kind (luma or chroma).

    Args:
        width: hidden channels; shared by all coefficients.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.stem = nn.Linear(_FEATURES, width)
        self.middle = nn.Linear(width, width)
        self.head = nn.Linear(width, 1)
        self.frequency = nn.Parameter(torch.zeros(64, width))
        self.modulation = nn.Sequential(nn.Linear(8, 32), nn.SiLU(), nn.Linear(32, 4 * width))
        with torch.no_grad():
            self.head.weight.mul_(0.1)

    def forward(self, levels: torch.Tensor, step: torch.Tensor, qf: torch.Tensor) -> torch.Tensor:
        """Unrounded levels Nxhxwx8x8, their steps and QFs (N) to rounded levels.

        The gradient with respect to the levels is 1.
        """
        rounded = self._round(levels.detach(), step, qf)
        return rounded + (levels - levels.detach()) if levels.requires_grad else rounded

    def _round(self, levels: torch.Tensor, step: torch.Tensor, qf: torch.Tensor) -> torch.Tensor:
        count, shape = levels.shape[0], levels.shape
        nearest = round_half_away(levels)
        rest = (levels - nearest).reshape(count, -1, 64, 1)
        size = torch.tanh(levels).reshape(count, -1, 64, 1)
        coarse = (step.expand_as(levels).log() / 4.0).reshape(count, -1, 64, 1)
        x = torch.cat([2 * rest, 8 * rest**3, 4 * rest.square(), size, coarse], dim=-1)
        scale_1, shift_1, scale_2, shift_2 = (
            self.modulation(_embed_qf(qf)).view(count, 1, 1, 4, self.width).unbind(3)
        )
        x = activate((self.stem(x) + self.frequency) * (1 + scale_1) + shift_1)
        x = activate(self.middle(x) * (1 + scale_2) + shift_2)
        correction = 0.5 * torch.tanh(self.head(x))
        return nearest + (rest**3 + correction).reshape(shape)


class FgJpegNetwork(nn.Module):
    """JPEG as the real codec would do it, differentiable in the image and in the quality factor.

    Args:
        width: hidden channels.
    """

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.luma = _Corrector(width)
        self.chroma = _Corrector(width)

    def forward(
        self, image: torch.Tensor, qf: torch.Tensor, subsampling: Subsampling = "4:2:0"
    ) -> torch.Tensor:
        """Images Bx3xHxW in [0, 1] and quality factors B, 1 to 100, to images as JPEG leaves them.

        The result is on 8-bit levels in [0, 1], straight through.
        """
        steps: Coefficients = encode(image, qf, subsampling)
        rounded = steps._replace(
            luma=self.luma(steps.luma, steps.luma_step, qf),
            chroma=self.chroma(steps.chroma, steps.chroma_step, qf.repeat(2)),
        )
        return decode(rounded, image.shape[-2], image.shape[-1], subsampling)


class QfPredictor(nn.Module):
    """Read the quality factor of the last JPEG compression off an image on its 8x8 grid.

    For each candidate quality factor it measures how well the lowest luma coefficients sit on
    multiples of that quality's steps; a small network weighs the evidence.

    Args:
        width: hidden channels.
    """

    candidates: torch.Tensor

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.register_buffer("candidates", torch.arange(10.0, 101.0))
        count = len(self.candidates)
        self.weigh = nn.Sequential(
            nn.Linear(2 * count * len(_LOW), width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, count),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Images Bx3xHxW in [0, 1] to logits over ``candidates``, Bx91."""
        one = torch.full((image.shape[0],), 100.0, device=image.device)
        unit = encode(image, one, "4:4:4")  # at QF 100 every step is 1
        values = unit.luma.flatten(1, 2).flatten(2)[:, :, list(_LOW)]
        steps = quantisation_tables(self.candidates)[:, 0].flatten(1)[:, list(_LOW)]
        phase = values[:, :, None] / steps  # B, blocks, candidates, coefficients
        alive = (phase.abs() > 0.5).float()

        fit = (torch.cos(2 * torch.pi * phase) * alive).mean(1)
        return self.weigh(torch.cat([fit.flatten(1), alive.mean(1).flatten(1)], dim=1))

    def predict(self, image: torch.Tensor) -> torch.Tensor:
        """The expected quality factor of each image, B."""
        return self(image).softmax(-1) @ self.candidates
