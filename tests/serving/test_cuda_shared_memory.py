"""CUDA shared memory with the real server: with a GPU, and what it says without one."""

import base64

import numpy as np
import pytest
import torch

from clr_infer import Session
from clr_infer.client import Client
from clr_infer.client.runtime import ServedNetworks
from clr_infer.errors import ServerError

pytest.importorskip("tritonclient.grpc")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_results_are_those_without_it(serving, session, photo, fragment, transport):
    with (
        Client(serving.urls[transport], shared_memory="cuda") as client,
        Client(serving.urls[transport]) as plain,
    ):
        for _ in range(3):
            np.testing.assert_array_equal(client.protect(photo).image, plain.protect(photo).image)
            found, expected = client.recover(fragment), plain.recover(fragment)
            np.testing.assert_array_equal(found.image, expected.image)
            assert found.located.crop_box == expected.located.crop_box
        networks = ServedNetworks(client, session.weights)
        there = Session(networks, session.weights, session.settings)
        np.testing.assert_array_equal(there.recover(fragment).image, plain.recover(fragment).image)


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_a_server_that_takes_none_is_an_error_not_a_slower_answer(
    serving, photo, transport, monkeypatch
):
    class Bogus:
        def create_shared_memory_region(self, name, size, device_id):
            return name

        def get_raw_handle(self, handle):
            return base64.b64encode(bytes(64))

        def destroy_shared_memory_region(self, handle):
            pass

        CudaSharedMemoryException = RuntimeError

    monkeypatch.setattr("clr_infer.client.regions._cuda_module", Bogus)
    with Client(serving.urls[transport], shared_memory="cuda") as client:
        with pytest.raises(ServerError, match="shared memory"):
            client.locate(photo)
    with Client(serving.urls[transport]) as client:
        assert not client.locate(photo).protected  # it goes on
