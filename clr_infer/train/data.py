"""Photographs in memory, and random frames drawn from them."""

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from ..attacks.simulate import resize
from ..errors import ImageError, InputError
from ..image_io import READ_SUFFIXES, read_image
from ..settings import Settings

__all__ = ["Photos"]

_log = logging.getLogger(__name__)

_SETTINGS = Settings(side_min=1)  # small ones are left out without a word
_SHORT_SIDE_MAX = 512
_STRETCH_MAX = 1.6
_JOINED_SHARE = (0.4, 0.6)
"""Of two photographs that are joined, what the first takes."""


def _read(path: Path) -> np.ndarray | ImageError:
    """A photograph, HxWx3 uint8, its short side at most 512 pixels; or why there is none."""
    try:
        pixels = read_image(path, _SETTINGS).pixels
    except ImageError as error:
        return error
    scale = _SHORT_SIDE_MAX / min(pixels.shape[:2])
    if scale >= 1:
        return pixels
    photo = Image.fromarray(pixels)
    size = (round(photo.width * scale), round(photo.height * scale))
    return np.array(photo.resize(size, Image.Resampling.LANCZOS))


class Photos:
    """All photographs of a folder as uint8 tensors on one device.

    Args:
        folder: searched recursively; photographs with a side under ``side_min`` are left out,
            those with a short side over 512 pixels are reduced to it. Files that cannot be read
            are named in a warning and left out.
        device: where they are kept.
        side_min: least side in pixels.
        limit: at most this many, the first by name.

    Attributes:
        unreadable: how many were left out because they cannot be read.

    Raises:
        InputError: the folder holds no usable photograph.
    """

    def __init__(
        self, folder: Path, device: torch.device, side_min: int = 64, limit: int | None = None
    ) -> None:
        named = (path for path in folder.rglob("*") if path.suffix.lower() in READ_SUFFIXES)
        paths = sorted(path for path in named if not path.is_dir())
        self.names: list[str] = []
        self.images: list[torch.Tensor] = []
        errors: list[ImageError] = []
        paths = paths[:limit]
        with ThreadPoolExecutor() as pool:  # decoders let others run
            photos = pool.map(_read, paths)
            for path, pixels in tqdm(zip(paths, photos, strict=True), "photographs", len(paths)):
                if isinstance(pixels, ImageError):
                    errors.append(pixels)
                elif min(pixels.shape[:2]) >= side_min:
                    self.names.append(path.name)
                    self.images.append(torch.from_numpy(pixels).permute(2, 0, 1).to(device))
        self.unreadable = len(errors)
        if errors:
            said = "; ".join(map(str, errors))
            _log.warning("%d of %d files are left out: %s", len(errors), len(paths), said)
        if not self.images:
            raise InputError(f"no photograph of at least {side_min} pixels a side in {folder}")
        sides = [image.shape[1:] for image in self.images]
        self._wide = [index for index, (height, width) in enumerate(sides) if height <= width]
        self._tall = [index for index, (height, width) in enumerate(sides) if height >= width]

    def __len__(self) -> int:
        return len(self.images)

    def draw(self, rng: np.random.Generator, size: int, count: int = 1) -> torch.Tensor:
        """Draw originals of one native size, Bx3xHxW in [0, 1], sides ``size`` to 1.6 ``size``.

        Random parts of random photographs, at random zooms, flipped or not: what pictures of some
        size and aspect look like to a network that stretches them to ``size``. They come from
        photographs that lie as they do, wide or tall, so that small ones are enlarged least; of
        those that would be enlarged all the same, every other one is joined with a second one
        instead, so that there are sharp pictures of any size.

        Args:
            rng: source of randomness.
            size: side of the network's frame in pixels.
            count: how many.
        """
        stretch = np.exp(rng.uniform(0, np.log(_STRETCH_MAX), 2)) if rng.random() < 0.7 else [1, 1]
        native_h, native_w = (round(size * s) for s in stretch)
        lie_alike = self._tall if native_h > native_w else self._wide
        chosen = rng.choice(lie_alike or range(len(self)), (count, 2))
        parts = [self._picture(rng, one, other, native_h, native_w) for one, other in chosen]
        return torch.cat(parts) / 255.0

    def _picture(
        self, rng: np.random.Generator, one: int, other: int, native_h: int, native_w: int
    ) -> torch.Tensor:
        """A part of a photograph, or of two side by side, 1x3xHxW, 0 to 255."""
        photo = self.images[one]
        reach_h, reach_w = photo.shape[1] / native_h, photo.shape[2] / native_w
        if min(reach_h, reach_w) >= 1 or rng.random() < 0.5:
            return self._part(rng, photo, native_h, native_w)
        share = rng.uniform(*_JOINED_SHARE)
        if reach_h < reach_w:
            cut = round(native_h * share)
            sides, joined = [(cut, native_w), (native_h - cut, native_w)], 2
        else:
            cut = round(native_w * share)
            sides, joined = [(native_h, cut), (native_h, native_w - cut)], 3
        pair = zip((photo, self.images[other]), sides, strict=True)
        return torch.cat([self._part(rng, photo, *side) for photo, side in pair], joined)

    def _part(
        self, rng: np.random.Generator, photo: torch.Tensor, native_h: int, native_w: int
    ) -> torch.Tensor:
        """A part of a photograph, 1x3xHxW, 0 to 255."""
        zoom_max = min(photo.shape[1] / native_h, photo.shape[2] / native_w)
        zoom = min(zoom_max, float(np.exp(rng.uniform(0, np.log(max(zoom_max, 1))))))
        part_h, part_w = round(native_h * zoom), round(native_w * zoom)
        y = int(rng.integers(photo.shape[1] - part_h + 1))
        x = int(rng.integers(photo.shape[2] - part_w + 1))
        part = photo[:, y : y + part_h, x : x + part_w]
        if rng.random() < 0.5:
            part = part.flip(2)
        return resize(part[None].float(), native_h, native_w, "bilinear")
