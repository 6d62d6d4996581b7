"""Regions of shared memory, on the host and on a GPU that is played by the host."""

import asyncio
import importlib.util
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from clr_infer.cli import main
from clr_infer.client import Client, regions
from clr_infer.client.regions import CudaRegion, SystemRegion, region_kind
from clr_infer.client.shared import Lease, SharedMemory
from clr_infer.errors import ModelError, RequestRefused, RuntimeUnavailable, UsageError

_spec = importlib.util.spec_from_file_location(
    "cuda_memory", Path(__file__).parent / "cuda_memory.py"
)
cuda_memory = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(cuda_memory)

IMAGE = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
SCALES = np.array([0.5, -3.0], np.float32)


@pytest.fixture
def cuda(monkeypatch):
    fake = cuda_memory.FakeCuda()
    monkeypatch.setattr("clr_infer.client.regions._cuda_module", lambda: fake)
    return fake


@pytest.fixture(params=["system", "cuda"])
def kind(request, cuda):
    return region_kind(request.param)


def _files():
    return {p.name for p in Path("/dev/shm").glob("clr_infer_*")}


def test_tensors_lie_in_a_row_and_come_back(kind):
    lease = Lease(kind, "clr_infer_0_regions", 64, 64)
    places = lease.place({"image": IMAGE, "scales": SCALES})
    assert places == {
        "image": ("clr_infer_0_regions_in", 24, 0),
        "scales": ("clr_infer_0_regions_in", 8, 24),
    }
    rooms = lease.rooms({"image": 24, "scales": 8})
    assert [room[1:] for room in rooms.values()] == [(24, 0), (8, 24)]
    inputs, outputs = lease.regions
    np.testing.assert_array_equal(inputs.read(24, SCALES.dtype, (2,)), SCALES)
    outputs.write([IMAGE, SCALES])  # as a server would
    found = lease.fetch(rooms["scales"], SCALES.dtype, [2])
    np.testing.assert_array_equal(found, SCALES)
    np.testing.assert_array_equal(lease.fetch(rooms["image"], IMAGE.dtype, IMAGE.shape), IMAGE)
    lease.destroy()
    np.testing.assert_array_equal(found, SCALES)  # a copy


class _Server:
    """Remembers what it was asked; refuses what it is told to."""

    def __init__(self, refused: str = "", words: str = "no shared memory here") -> None:
        self.asked, self.refused, self.words = [], refused, words

    async def ask(self, method, timeout_s, **arguments):
        assert 0.0 < timeout_s <= 10.0
        self.asked.append((method, arguments))
        if method == self.refused:
            raise RequestRefused(self.words)


def _soon():
    return time.monotonic() + 10.0


async def _lease(shared, *sizes):
    async with shared.leased(*sizes, _soon()):
        pass


def test_regions_are_registered_used_again_and_forgotten(kind):
    server, before = _Server(), _files()

    async def work():
        shared = SharedMemory(kind, server.ask, 5.0)
        async with shared.leased(100, 50, _soon()) as first:
            pass
        async with shared.leased(80, 50, _soon()) as again, shared.leased(200, 0, _soon()) as large:
            assert len(large.regions) == 1
        async with shared.leased(80, 50, _soon()) as third:
            third.usable = False
        assert first is again is third
        async with shared.leased(80, 50, _soon()) as fresh:
            assert fresh is not third
            await shared.close()  # under a request that nobody ended
        await shared.close()

    asyncio.run(work())
    registered = [a["name"] for m, a in server.asked if m == kind.register]
    forgotten = [a["name"] for m, a in server.asked if m == kind.unregister]
    assert len(set(registered)) == 5 and sorted(registered) == sorted(forgotten)
    assert _files() == before


def test_regions_that_were_removed_are_not_used_again(kind):
    async def work():
        shared = SharedMemory(kind, _Server().ask, 5.0)
        async with shared.leased(10, 0, _soon()) as first:
            pass
        await shared.close()
        async with shared.leased(10, 0, _soon()) as second:
            assert second is not first
            await shared.close()
        async with shared.leased(10, 0, _soon()) as third:
            assert third is not second
        await shared.close()

    asyncio.run(work())


def test_regions_that_became_too_small_are_given_up(kind):
    before = _files()

    async def work():
        shared = SharedMemory(kind, _Server().ask, 5.0)
        for size in (10, 100, 1000):
            await _lease(shared, size, 0)
        assert len(shared._all) == 1
        await shared.close()

    asyncio.run(work())
    assert _files() == before


def test_a_region_that_stays_in_use_is_asked_after_for_a_while(kind, monkeypatch):
    monkeypatch.setattr("clr_infer.client.shared._BUSY_S", 0.3)
    server = _Server(refused=kind.unregister, words="region is currently in use")

    async def work():
        shared = SharedMemory(kind, server.ask, 60.0)
        await _lease(shared, 10, 0)
        await asyncio.wait_for(shared.close(), 10.0)

    asyncio.run(work())
    assert [method for method, _ in server.asked].count(kind.unregister) > 1


def test_a_refusal_leaves_nothing_behind(kind, cuda):
    server, before = _Server(refused=kind.register), _files()
    with pytest.raises(RequestRefused):
        asyncio.run(_lease(SharedMemory(kind, server.ask, 5.0), 10, 10))
    assert _files() == before and not cuda.regions


def test_memory_that_is_not_there_is_told_and_not_written_to(monkeypatch):
    before = _files()
    with pytest.raises(ModelError, match="too full"):
        SystemRegion("clr_infer_test_huge", 1 << 60)
    taken = SimpleNamespace(f_frsize=4096, f_blocks=1000, f_bavail=1)
    with monkeypatch.context() as patch, pytest.raises(ModelError, match="too full"):
        patch.setattr(regions.os, "statvfs", lambda _: taken)
        SystemRegion("clr_infer_test_full", 4097)
    monkeypatch.setattr(regions, "_SHM", "/nowhere")
    with pytest.raises(ModelError, match="shared memory"):
        SystemRegion("clr_infer_test_small", 10)
    assert _files() == before


def test_memory_that_somebody_else_made_is_not_taken():
    first = SystemRegion("clr_infer_0_twice", 10)
    try:
        with pytest.raises(ModelError, match="shared memory"):
            SystemRegion("clr_infer_0_twice", 10)
    finally:
        first.destroy()


def test_cuda_regions_are_announced_by_their_handles(cuda):
    server = _Server()
    asyncio.run(_lease(SharedMemory(CudaRegion, server.ask, 5.0), 10, 0))
    ((method, arguments),) = server.asked
    assert method == "register_cuda_shared_memory" and arguments["byte_size"] == 10
    assert arguments["device_id"] == 0 and arguments["raw_handle"].startswith(b"aGFuZGxl")


def test_a_full_gpu_is_an_error_and_frees_the_other_region(cuda):
    cuda.limit = 100
    with pytest.raises(ModelError, match="200 bytes.*out of memory"):
        Lease(CudaRegion, "clr_infer_0_full", 50, 200)
    assert cuda.freed == ["clr_infer_0_full_in"]


def test_an_empty_region_cannot_be_made_and_frees_the_other():
    before = _files()
    with pytest.raises(Exception):  # noqa: B017 - the library's own
        Lease(SystemRegion, "clr_infer_0_none", 50, -1)
    assert _files() == before


def test_kinds_are_chosen_by_name():
    assert region_kind(False) is None
    assert region_kind(True) is region_kind("system") is SystemRegion
    with pytest.raises(UsageError, match="system or cuda"):
        Client("grpc://localhost:1", shared_memory="telepathy")


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_cuda_without_a_gpu_fails_loudly(capsys):
    with pytest.raises(RuntimeUnavailable, match="NVIDIA GPU and its driver"):
        Client("grpc://localhost:1", shared_memory="cuda")
    words = ["health", "--url", "grpc://localhost:1", "--cuda-shared-memory"]
    assert main(words) == 3
    assert "NVIDIA GPU" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main([*words, "--shared-memory"])


def test_cuda_without_its_library_says_what_to_install():
    code = (
        "import sys; sys.modules['cuda'] = None\n"
        "from clr_infer.client import Client\n"
        "from clr_infer.errors import RuntimeUnavailable\n"
        "try: Client('grpc://localhost:1', shared_memory='cuda')\n"
        "except RuntimeUnavailable as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install" in done.stdout and "cuda-python" in done.stdout
