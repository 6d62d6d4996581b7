"""A session with known answers, small enough to evaluate in a moment.

Each pixel of its images says where it lies (red: column, green: row) and, in blue, how the
session treats the image, so that a fragment alone tells the truth. Protection adds 1 to blue.
"""

from types import SimpleNamespace

import numpy as np
import pytest

from clr_infer.errors import ImageError
from clr_infer.evaluate import CONDITIONS, evaluate
from clr_infer.geometry import Box, crop_mask
from clr_infer.results import Located, Protected, Recovered
from clr_infer.settings import DEFAULT_SETTINGS

WIDTH, HEIGHT = 200, 180
UNSURE = 5.0
TREATMENTS = {"found": 10, "missed": 20, "refused": 30, "false alarm": 40}


def coordinates(blue: int) -> np.ndarray:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([columns, rows, np.full_like(rows, blue)], axis=-1).astype(np.uint8)


class FakeRuntime:
    name, size = "fake", 16

    def __init__(self):
        self.boxes = []

    def run(self, network, tensors):
        if network == "align":
            return {"aligned": tensors["received"]}
        self.boxes.append(Box(*(float(v) for v in tensors["crop_box"][0])))
        return {"recovered": np.zeros((1, 3, self.size, self.size), np.float32)}


class FakeSession:
    def __init__(self):
        self.runtime, self.settings = FakeRuntime(), DEFAULT_SETTINGS
        manifest = {"format": 1, "steps": 7, "files": {"a.onnx": "00ff"}, "validation": {}}
        self.weights = SimpleNamespace(manifest=manifest, psnr_db=38.5, default_psnr_db=38.5)
        self.protected, self.copied, self.refined = [], False, 0
        self.sought = []

    @staticmethod
    def picture(treatment):
        return coordinates(TREATMENTS[treatment])

    def protect(self, image, *, psnr_db=None, refine=0, copy=False):
        self.strength, self.copied, self.refined = psnr_db, copy, refine
        self.protected.append(image)
        marked = image.copy()
        marked[..., 2] += 1
        return Protected(marked, 0.0)

    def locate(self, image, *, turned=False):
        self.sought.append(turned)
        x0, y0, blue = (int(v) for v in image[0, 0])
        treatment, marked = blue // 10 * 10, blue % 10 == 1
        if treatment == TREATMENTS["refused"]:
            raise ImageError("refused")
        alarmed = treatment == TREATMENTS["false alarm"]
        if not alarmed and (not marked or treatment == TREATMENTS["missed"]):
            return Located(False, 0.25, None, None, None, None)
        box_px = (x0, y0, x0 + image.shape[1], y0 + image.shape[0])
        box = Box(x0 / WIDTH, y0 / HEIGHT, box_px[2] / WIDTH, box_px[3] / HEIGHT)
        mask = crop_mask(box_px, WIDTH, HEIGHT)
        return Located(True, 0.75, box, box_px, (WIDTH, HEIGHT), mask)

    def recover(self, image, *, turned=False):
        located = self.locate(image, turned=turned)
        if not located.protected:
            return Recovered(None, located)
        whole = coordinates(int(image[0, 0, 2]) // 10 * 10)
        cells = np.full((4, 4), UNSURE, np.float32)
        return Recovered(whole, located, {}, cells, from_copy=self.copied)


@pytest.fixture
def session():
    return FakeSession()


@pytest.fixture(scope="package")
def measured():
    """Three images that are found and one that is missed, in three conditions."""
    treatments = ["found", "found", "found", "missed"]
    images = [(f"image{i}", FakeSession.picture(one)) for i, one in enumerate(treatments)]
    chosen = [CONDITIONS["clean"], CONDITIONS["jpeg90-444"], CONDITIONS["jpeg95-444"]]
    kept = (1.0, 0.84, 0.71, 0.55)
    return evaluate(FakeSession(), images, conditions=chosen, kept=kept, progress=False)
