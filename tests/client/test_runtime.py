"""A server's networks as a runtime, without the server."""

from types import SimpleNamespace

import numpy as np
import pytest

from clr_infer.client.runtime import ServedNetworks
from clr_infer.runtimes.triton_server import MAX_BATCH


class Fake:
    """A client whose server answers each image with its red plane in all of the residual."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def call(self, call):
        image = call.inputs["image"]
        self.batches.append(len(image))
        assert call.output_bytes == {"residual": image.nbytes}
        return call.parse({"residual": np.repeat(image[:, :1], 3, axis=1)})


@pytest.mark.parametrize("batch", [1, MAX_BATCH, MAX_BATCH + 1, 2 * MAX_BATCH + 3])
def test_batches_are_no_larger_than_the_server_takes(batch):
    client = Fake()
    networks = ServedNetworks(client, SimpleNamespace(size=32, psnr_db=40.0))
    image = np.random.default_rng(0).random((batch, 3, 32, 32), np.float32)
    residual = networks.run("protect", {"image": image})["residual"]
    np.testing.assert_array_equal(residual, np.repeat(image[:, :1], 3, axis=1))
    assert sum(client.batches) == batch and max(client.batches) <= MAX_BATCH
    assert len(client.batches) == -(-batch // MAX_BATCH)
