"""What each contestant does in a call: the same work for all of them."""

import asyncio

import numpy as np
import pytest

from clr_infer.bench import contestants
from clr_infer.samples import SAMPLE


class Client:
    """Keeps what it is given."""

    def __init__(self, url, **options):
        self.given = []

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        pass

    async def locate(self, image):
        self.given.append(image)

    async def stats(self):
        return self.given


@pytest.mark.parametrize("shared_memory", [False, True])
def test_the_server_gets_files_or_pixels_that_each_call_decodes(monkeypatch, shared_memory):
    decoded, content = [], SAMPLE.read_bytes()
    read = contestants.read_image
    monkeypatch.setattr(contestants, "AsyncClient", Client)
    monkeypatch.setattr(
        contestants, "read_image", lambda file: (decoded.append(file), read(file))[1]
    )
    one = contestants.server("grpc://nowhere", None, shared_memory, 1, {"locate": content})

    async def asked_twice():
        async with one.open() as (ask, stats):
            await ask("locate")
            await ask("locate")
            return await stats()

    given = asyncio.run(asked_twice())
    assert decoded == [content] * (2 if shared_memory else 0)
    assert len(given) == 2
    if shared_memory:
        np.testing.assert_array_equal(given[0], read(content).pixels)
    else:
        assert given == [content] * 2
