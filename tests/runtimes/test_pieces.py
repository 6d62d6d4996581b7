"""Batches in pieces."""

import numpy as np
import pytest

from clr_infer.runtimes.base import in_pieces


@pytest.mark.parametrize("batch", [1, 3, 4, 5, 9])
def test_pieces_are_bounded_and_joined_in_order(batch):
    sizes = []

    def run(tensors):
        sizes.append(len(tensors["image"]))
        return {"sum": tensors["image"].sum((1, 2)) + tensors["qf"], "same": tensors["image"]}

    image = np.arange(batch * 6, dtype=np.float32).reshape(batch, 2, 3)
    qf = np.arange(batch, dtype=np.float32)
    joined = in_pieces(run, {"image": image, "qf": qf}, batch_max=4)
    np.testing.assert_array_equal(joined["same"], image)
    np.testing.assert_array_equal(joined["sum"], image.sum((1, 2)) + qf)
    assert sum(sizes) == batch and max(sizes) <= 4 and all(size == 4 for size in sizes[:-1])
