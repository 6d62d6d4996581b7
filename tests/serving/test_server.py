"""The real server: equality with the session, batching, and everything that goes wrong."""

import concurrent.futures
import io
import json
import os
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import clr_infer
from clr_infer import Session
from clr_infer.cli import main
from clr_infer.client import AsyncClient, Client, Retry
from clr_infer.client.runtime import ServedNetworks
from clr_infer.errors import (
    DeadlineExceeded,
    ImageError,
    InputError,
    ServerError,
    ServerUnavailable,
)
from clr_infer.geometry import Turn
from clr_infer.results import Located
from clr_infer.runtimes.triton_server import MAX_BATCH
from clr_infer.samples import SAMPLE
from clr_infer.serving.stubs import stub_processes
from clr_infer.settings import KEY_VARIABLE

from .conftest import start_serving

triton = pytest.importorskip("tritonclient.grpc")
triton_http = pytest.importorskip("tritonclient.http")
InferenceServerException = pytest.importorskip("tritonclient.utils").InferenceServerException

TRANSPORTS = [("grpc", False), ("grpc", True), ("http", False), ("http", True)]


def _same_place(ours, theirs):
    assert ours.protected == theirs.protected and ours.confidence == theirs.confidence
    assert ours.crop_box == theirs.crop_box and ours.box_px == theirs.box_px
    assert ours.canvas_px == theirs.canvas_px
    assert ours.picture_px == theirs.picture_px and ours.turn == theirs.turn
    assert ours.by_copy == theirs.by_copy
    np.testing.assert_array_equal(ours.mask, theirs.mask)


@pytest.mark.parametrize(("transport", "shared_memory"), TRANSPORTS)
def test_results_equal_those_of_a_session_bit_for_bit(
    serving, session, photo, fragment, transport, shared_memory
):
    with Client(serving.urls[transport], shared_memory=shared_memory) as client:
        ours, theirs = client.protect(photo, psnr_db=38.5), session.protect(photo, psnr_db=38.5)
        np.testing.assert_array_equal(ours.image, theirs.image)
        assert ours.psnr_db == theirs.psnr_db
        assert set(ours.timings_ms) == set(theirs.timings_ms)
        _same_place(client.locate(fragment), session.locate(fragment))
        found, expected = client.recover(fragment), session.recover(fragment)
        _same_place(found.located, expected.located)
        np.testing.assert_array_equal(found.image, expected.image)
        np.testing.assert_array_equal(found.cell_uncertainty, expected.cell_uncertainty)
        assert not found.from_copy and ours.copy_psnr_db is None
        unprotected = client.recover(photo)
        assert unprotected.image is None and unprotected.uncertainty is None
        _same_place(unprotected.located, session.recover(photo).located)
        simulated = client.fg_jpeg(photo, 61.5)
        np.testing.assert_array_equal(simulated.image, session.fg_jpeg(photo, 61.5).image)


@pytest.mark.parametrize(("transport", "shared_memory"), TRANSPORTS)
def test_a_session_can_have_its_networks_on_a_server(
    serving, session, fragment, transport, shared_memory
):
    with Client(serving.urls[transport], shared_memory=shared_memory) as client:
        networks = ServedNetworks(client, session.weights)
        there = Session(networks, session.weights, session.settings)
        np.testing.assert_array_equal(
            there.recover(fragment).image, session.recover(fragment).image
        )


def test_shared_memory_is_gone_when_a_client_is(serving, photo):
    before = set(Path("/dev/shm").iterdir())
    with Client(serving.urls["grpc"], shared_memory=True) as client:
        client.locate_batch([photo] * 3)
        assert len(set(Path("/dev/shm").iterdir()) - before) >= 3
    assert set(Path("/dev/shm").iterdir()) <= before


def test_requests_of_different_clients_batch_together(serving, session, fragment):
    expected = session.recover(fragment)
    with Client(serving.urls["grpc"]) as one, Client(serving.urls["http"]) as other:
        before = one.stats()["localize_network"]
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            clients = [one, other] * 6
            found = list(pool.map(lambda client: client.recover(fragment), clients))
        after = one.stats()["localize_network"]
    requests = after["requests"] - before["requests"]
    assert requests == 12 and after["executions"] - before["executions"] < requests
    for result in found:
        _same_place(result.located, expected.located)
        np.testing.assert_array_equal(result.image, expected.image)


def test_batches_and_streams(client, session, photo, fragment):
    images = [photo, fragment, photo[:200]]
    for ours, theirs in zip(client.locate_batch(images), map(session.locate, images), strict=True):
        _same_place(ours, theirs)
    outcomes = dict(client.stream("locate", [photo, b"no image", fragment], concurrency=2))
    assert isinstance(outcomes[1], ImageError)
    assert outcomes[2].protected and not outcomes[0].protected
    with pytest.raises(ImageError, match="not an image"):
        client.locate_batch([photo, b"no image"])


async def _concurrently(url, fragment):
    async with AsyncClient(url) as client:
        found = await client.recover(fragment)
        streamed = [pair async for pair in client.stream("locate", [fragment])]
        return found, streamed, await client.health()


def test_turned_fragments_are_looked_for_where_that_is_asked_for(client, session, fragment):
    turned = np.ascontiguousarray(np.rot90(fragment[:, ::-1]))
    ours, theirs = client.recover(turned, turned=True), session.recover(turned, turned=True)
    assert ours.located.turn == Turn(True, 90.0)
    _same_place(ours.located, theirs.located)
    np.testing.assert_array_equal(ours.image, theirs.image)
    (located,) = client.locate_batch([turned], turned=True)
    _same_place(located, ours.located)
    encoded = client.recover_encoded(turned, turned=True)
    assert Turn(*encoded.facts["located"]["turn"]) == ours.located.turn


def test_copies_are_written_and_read_by_a_server(client, session, photo):
    ours, theirs = (one.protect(photo, copy=True) for one in (client, session))
    np.testing.assert_array_equal(ours.image, theirs.image)
    assert ours.copy_psnr_db == theirs.copy_psnr_db > 23
    cut = np.ascontiguousarray(ours.image[30:210, 50:310])
    found, expected = client.recover(cut), session.recover(cut)
    assert found.from_copy and found.located.by_copy
    _same_place(client.locate(cut), expected.located)
    np.testing.assert_array_equal(found.image, expected.image)
    np.testing.assert_array_equal(found.cell_uncertainty, expected.cell_uncertainty)
    painted = cut.copy()
    painted[60:90, 70:120] = 0
    found, expected = client.recover(painted), session.recover(painted)
    _same_place(found.located, expected.located)
    assert found.located.altered_px == expected.located.altered_px != ()
    np.testing.assert_array_equal(found.image, expected.image)
    with pytest.raises(InputError, match="lossless"):
        client.protect_encoded(photo, copy=True, format="jpeg")
    file = client.protect_encoded(photo, copy=True)
    assert file.facts["copy_psnr_db"] == ours.copy_psnr_db
    assert client.recover_encoded(file.content).facts["from_copy"]


def test_the_asynchronous_client_gives_the_same(serving, session, fragment):
    import asyncio

    found, streamed, health = asyncio.run(_concurrently(serving.urls["grpc"], fragment))
    np.testing.assert_array_equal(found.image, session.recover(fragment).image)
    _same_place(streamed[0][1], session.locate(fragment))
    assert health["ready"] and all(health["models"].values())


def test_files_go_in_and_out_with_what_they_carry(client, session, photo):
    picture = Image.fromarray(photo).convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    exif = Image.Exif()
    exif[0x010E] = "a raccoon"
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", exif=exif)
    protected = client.protect_encoded(buffer.getvalue())
    with Image.open(io.BytesIO(protected.content)) as result:
        assert result.format == "PNG" and result.mode == "RGBA"
        assert result.getexif()[0x010E] == "a raccoon"
        pixels = np.asarray(result)[..., :3]
    np.testing.assert_array_equal(pixels, session.protect(photo).image)
    fragment = np.ascontiguousarray(pixels[20:])
    jpeg = client.recover_encoded(fragment, format="jpeg", quality=90)
    assert jpeg.facts["expected_psnr_db"] == session.recover(fragment).expected_psnr_db
    assert Image.open(io.BytesIO(jpeg.content)).format == "JPEG"
    assert jpeg.facts["located"]["protected"]
    assert client.recover_encoded(photo).content is None


def test_the_command_line_gives_the_same_with_a_server(serving, tmp_path, capsys, fragment):
    Image.fromarray(fragment).save(tmp_path / "in.png")
    (tmp_path / "bad.jpg").write_text("no picture")
    records, files = [], []
    for name, extra in (
        ("here", ["--runtime", "onnxruntime"]),
        ("there", ["--url", serving.urls["grpc"]]),
    ):
        out = tmp_path / name
        words = ["recover", str(tmp_path / "in.png"), str(tmp_path / "bad.jpg"), "--json"]
        assert main([*words, "-o", str(out), *extra]) == 1
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        for line in lines:
            line.pop("timings_ms", None)
            line["outputs"] = sorted(line.get("outputs", {}))
        records.append(lines)
        files.append({p.name: p.read_bytes() for p in out.iterdir()})
    assert records[0] == records[1] and files[0] == files[1] and len(files[0]) == 4


def test_nobody_but_who_looks_after_it_may_unload_a_model(serving, photo):
    for transport, module in (("grpc", triton), ("http", triton_http)):
        address = serving.urls[transport].partition("://")[2]
        with module.InferenceServerClient(address) as raw:
            with pytest.raises(InferenceServerException, match="restricted"):
                raw.unload_model("clr_locate")
        with Client(serving.urls[transport]) as client:
            assert not client.locate(photo).protected


def test_a_batch_of_files_needs_a_server(tmp_path, capsys):
    assert main(["locate", str(SAMPLE), "--url", "grpc://127.0.0.1:9", "--timeout", "1"]) == 4
    assert "ServerUnavailable" in capsys.readouterr().err
    assert main(["locate", str(SAMPLE), "--url", "ftp://x", "--json"]) == 2
    assert main(["locate", str(SAMPLE), "--url", "grpc://x:1", "--threads", "1"]) == 2


def test_health_is_a_golden_inference(serving, capsys):
    assert main(["health", "--url", serving.urls["http"], "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["healthy"] and set(facts["timings_ms"]) == {
        "protect", "locate", "recover", "fg_jpeg",
    }  # fmt: skip


def test_metrics_are_served(serving):
    with urllib.request.urlopen(serving.urls["metrics"]) as answer:
        assert b'nv_inference_request_success{model="clr_protect"' in answer.read()


def test_a_caller_who_asks_again_at_once_is_not_forgotten(client, fragment):
    def queue_ms():
        return client.stats()["localize_network"]["queue_ms"]

    before = queue_ms()
    for _ in range(40):
        client.locate(fragment)
    assert queue_ms() - before < 400  # a lost wake-up alone costs 500


def test_more_requests_than_a_model_works_on_keep_moving(client):
    began = time.monotonic()
    outcomes = [one for _, one in client.stream("locate", [b"no image"] * 300, concurrency=100)]
    assert all(type(one) is ImageError for one in outcomes)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_a_passed_deadline_is_an_error(serving, photo, transport):
    with Client(serving.urls[transport], timeout_s=0.02) as client:
        with pytest.raises(DeadlineExceeded, match=r"0\.02 s"):
            client.protect(photo)


@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_what_nobody_waits_for_is_not_worked_on(serving, photo, transport):
    with Client(serving.urls[transport], timeout_s=0.15, retry=Retry(budget=0)) as hasty:
        with Client(serving.urls["grpc"]) as client:
            before = client.stats()["localize_network"]["requests"]
            outcomes = [one for _, one in hasty.stream("locate", [photo] * 80, concurrency=80)]
            client.locate(photo)  # after all that came before
            worked_on = client.stats()["localize_network"]["requests"] - before - 1
    missed = sum(isinstance(one, DeadlineExceeded) for one in outcomes)
    answered = sum(isinstance(one, Located) for one in outcomes)
    assert missed + answered == 80 and missed > 4 * MAX_BATCH  # more than are under way at once
    assert worked_on - answered < missed / 2


def test_regions_of_calls_that_were_given_up_are_forgotten(serving, photo):
    address = serving.urls["grpc"].removeprefix("grpc://")
    options = {"timeout_s": 0.06, "retry": Retry(budget=0), "shared_memory": True}
    with triton.InferenceServerClient(address) as server:

        def forgotten():
            answer = server.get_system_shared_memory_status(as_json=True)
            known = {name for name in answer.get("regions", {}) if f"_{os.getpid()}_" in name}
            leases = hasty._client._shared._all  # of calls that were answered: for the next ones
            return known <= {region.name for lease in leases for region in lease.regions}

        with Client(serving.urls["grpc"], **options) as hasty:
            outcomes = [one for _, one in hasty.stream("recover", [photo] * 16, concurrency=16)]
            assert any(isinstance(one, DeadlineExceeded) for one in outcomes)
            until = time.monotonic() + 10.0
            while not forgotten() and time.monotonic() < until:
                time.sleep(0.1)
            assert forgotten()


def test_a_full_queue_turns_requests_away(serving, photo):
    none = Retry(budget=0)
    small = np.ascontiguousarray(photo[:64, :64])
    with Client(serving.urls["grpc"], timeout_s=4.0, retry=none) as client:
        outcomes = [one for _, one in client.stream("locate", [small] * 400, concurrency=400)]
        turned_away = [one for one in outcomes if isinstance(one, ServerUnavailable)]
        assert turned_away and "queue" in str(turned_away[0])
        answered = [one for one in outcomes if not isinstance(one, ServerError)]
        assert answered and not any(one.protected for one in answered)
    with Client(serving.urls["grpc"]) as client:
        assert not client.locate(small).protected


def _resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def test_memory_stays_where_it_is(serving, photo):
    pids = {p for pids in stub_processes(serving.tritonserver).values() for p in pids}
    pids.add(serving.tritonserver)
    small = np.ascontiguousarray(photo[:64, :64])
    with Client(serving.urls["grpc"], shared_memory=True) as client:

        def work(images, refused):
            for _ in client.stream("locate", images, concurrency=8):
                pass
            for _ in client.stream("locate", [b"no image"] * refused, concurrency=8):
                pass

        work([small] * 120, 2000)  # as below: memory arenas grow to what concurrent calls need
        before = sum(map(_resident_mb, pids))
        work([small] * 120, 2000)
        growth_mb = sum(map(_resident_mb, pids)) - before
    assert growth_mb < 100  # one lost 3 MB frame in three requests would be more


def test_networks_can_run_in_openvino_and_copies_have_a_key(photo, fragment, monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, "a secret")
    own = start_serving("--cpu-runtime", "openvino")
    try:
        with Client(own.urls["grpc"]) as client, clr_infer.load("openvino") as session:
            expected = session.protect(photo).image
            np.testing.assert_array_equal(client.protect(photo).image, expected)
            _same_place(client.locate(fragment), session.locate(fragment))
            found = client.recover(fragment).image
            np.testing.assert_array_equal(found, session.recover(fragment).image)
            copied = client.protect(photo, copy=True).image
            assert client.recover(copied).from_copy and not session.recover(copied).from_copy
    finally:
        assert own.stop() == 0
