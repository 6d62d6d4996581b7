"""What the tests of training share."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clr_infer.train.data import Photos


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory, raccoon: np.ndarray) -> Photos:
    """One small photograph; files that need others have their own."""
    folder: Path = tmp_path_factory.mktemp("photos")
    Image.fromarray(raccoon).resize((240, 180)).save(folder / "raccoon.png")
    return Photos(folder, torch.device("cpu"))
