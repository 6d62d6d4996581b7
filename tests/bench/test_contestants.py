"""What each contestant does in a call: the same work for all of them."""

import asyncio

import numpy as np
import pytest

from clr_infer.bench import contestants
from clr_infer.errors import ServerError
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


def test_the_peer_counts_as_failed_like_the_server_and_takes_as_many_callers():
    web = pytest.importorskip("aiohttp.web")
    callers, waiting = 130, 0
    everybody = asyncio.Event()

    async def meet(_):
        nonlocal waiting
        waiting += 1
        if waiting == callers:
            everybody.set()
        await asyncio.wait_for(everybody.wait(), 20.0)
        return web.Response(body=b"here")

    async def fail(_):
        raise web.HTTPInternalServerError

    async def asked():
        app = web.Application()
        app.add_routes([web.post("/locate", meet), web.post("/recover", fail)])
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        one = contestants.peer_service(url, 0, 1, {"locate": b"", "recover": b""})
        async with one.open() as (ask, stats):
            assert stats is None
            assert await asyncio.gather(*(ask("locate") for _ in range(callers))) == (
                [b"here"] * callers
            )
            with pytest.raises(ServerError, match="500"):
                await ask("recover")
            await runner.cleanup()
            with pytest.raises(ServerError, match="did not answer"):
                await ask("recover")

    asyncio.run(asked())
