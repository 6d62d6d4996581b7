"""A server's networks as a runtime, without the server."""

from types import SimpleNamespace

import numpy as np
import pytest

from clr_infer.client.runtime import ServedNetworks
from clr_infer.errors import InputError
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


def test_single_values_are_axes_of_length_one_on_the_way():
    """The server has no scalars."""
    networks = ServedNetworks(SimpleNamespace(), SimpleNamespace(size=32, psnr_db=40.0))
    frames = np.zeros((2, 3, 32, 32), np.float32)

    def simulate(call):
        assert call.inputs["qf"].shape == (2, 1)
        return call.parse({"simulated": call.inputs["image"]})

    def localize(call):
        reply = {"crop_box": np.zeros((2, 4)), "skew": np.zeros((2, 2))}
        return call.parse(reply | {"confidence": np.ones((2, 1)), "score": np.ones((2, 1))})

    networks._client.call = simulate
    qf = np.array([50.0, 90.0], np.float32)
    assert networks.run("fg_jpeg", {"image": frames, "qf": qf})["simulated"].shape == frames.shape
    networks._client.call = localize
    assert networks.run("localize", {"received": frames})["confidence"].shape == (2,)


def test_what_does_not_fit_a_network_is_not_sent():
    networks = ServedNetworks(None, SimpleNamespace(size=32, psnr_db=40.0))
    with pytest.raises(InputError, match="protect.image must be"):
        networks.run("protect", {"image": np.zeros((1, 3, 16, 32), np.float32)})
