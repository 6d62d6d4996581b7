"""``clr-infer bench server``, quickly: real tools, a real server, a real peer."""

import json

import pytest

from clr_infer.bench.server import _goals
from clr_infer.cli import main
from clr_infer.serving.embedded import EmbeddedServer, ServeOptions


def test_the_quick_suite_fills_every_section(tmp_path, capsys):
    out, plot = tmp_path / "server.json", tmp_path / "server.png"
    assert main(["bench", "server", "--quick", "-o", str(out), "--plot", str(plot)]) == 0
    result = json.loads(out.read_text("utf-8"))
    assert result["kind"] == "server" and result["command"].startswith("clr-infer ")
    assert result["environment"]["packages"]["tritonclient"]
    (network,) = result["network_level"]
    assert network["tool"] == "perf_analyzer" and network["server_compute_ms"] > 0
    assert network["in_process_p50_ms"] > 0
    images = result["image_level"]
    for row in images:
        assert row["failed"] == 0 and row["requests"] > 0
        assert row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
        assert row["memory_mb"] > 50 and row["cpu_ms_per_image"] > 0
    closed = [row for row in images if row["loop"] == "closed"]
    expected = [("session", 0), ("session", 1), ("server", 1), ("FastAPI", 1)] * 2
    assert [(row["contestant"], row["threads"]) for row in closed] == expected
    assert [row["concurrency"] for row in closed] == [1] * 4 + [4] * 4
    (random,) = [row for row in images if row["loop"] == "fixed rate"]
    assert random["contestant"] == "server" and random["offered_per_s"] > 0
    models = closed[2]["models"]
    assert models["localize_network"]["compute_ms"] > models["localize_network"]["queue_ms"] >= 0
    assert set(result["goals"]["throughput_of_in_process"]["found"]) == {"locate"}
    assert plot.read_bytes().startswith(b"\x89PNG")
    last = capsys.readouterr().out.splitlines()[-2:]
    assert [line.split()[0] for line in last] == list(result["goals"])
    assert all(("; {" in line) and ("met" in line or "MISSED" in line) for line in last)


def _network(overhead_ms, shared_memory=True):
    way = {"network": "align", "transport": "grpc", "shared_memory": shared_memory}
    return {**way, "batch": 1, "overhead_p50_ms": overhead_ms}


def _image(contestant, images_per_s, loop="closed"):
    return {
        "call": "locate", "contestant": contestant, "loop": loop, "images_per_s": images_per_s
    }  # fmt: skip


def test_goals_are_held_against_the_best_of_each():
    images = [_image("session", 10.0), _image("session", 20.0), _image("server", 18.5)]
    images += [_image("server", 9.0), _image("server", 30.0, "fixed rate"), _image("FastAPI", 40)]
    others = [_network(9.0, shared_memory=False), _network(9.0) | {"batch": 2}]
    met = _goals([_network(1.4), *others], images)
    assert met["throughput_of_in_process"]["found"] == {"locate": 0.925}
    assert met["network_overhead_p50_ms"]["found"] == {"align, grpc": 1.4}
    assert all(goal["met"] for goal in met.values())
    just = _goals([_network(1.4)], [_image("session", 20.0), _image("server", 18.0)])
    assert just["throughput_of_in_process"]["met"]
    missed = _goals([_network(1.5)], [_image("session", 20.0), _image("server", 17.9)])
    assert not any(goal["met"] for goal in missed.values())


def test_a_server_that_is_there_is_measured_without_starting_one(tmp_path):
    out = tmp_path / "server.json"
    options = ServeOptions(http_port=0, grpc_port=0, metrics_port=0)
    with EmbeddedServer(options) as server:
        server.start()
        words = ["bench", "server", "--quick", "--no-peer", "--batches", "2", "-o", str(out)]
        assert main([*words, "--concurrency", "1", "--url", server.grpc_url]) == 0
    result = json.loads(out.read_text("utf-8"))
    assert [row["batch"] for row in result["network_level"]] == [2]
    rows = [row for row in result["image_level"] if row["contestant"] == "server"]
    assert rows and all(row["memory_mb"] is None and row["failed"] == 0 for row in rows)


def test_a_limit_that_nothing_keeps_exits_with_1(capsys):
    words = ["bench", "server", "--quick", "--seconds", "0.3", "--slo"]
    assert main([*words, "p50=1ms"]) == 1
    assert json.loads(capsys.readouterr().out)["rate_per_s"] == 0
    assert main([*words, "p50=60000ms", "--min-rate", "0.1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rate_per_s"] >= 0.1 and found["slo"] == "p50 <= 60000 ms"
    assert len(found["trials"]) == 6


@pytest.mark.parametrize(
    "words",
    [
        ["--calls", "dance"],
        ["--size", "big"],
        ["--size", "0x480"],
        ["--size", "99999x99999"],
        ["--size", "999999999999x1"],
        ["--slo", "p12=5ms"],
        ["--transports", "pigeon"],
        ["--rounds", "0"],
        ["--rates", "5,-1"],
        ["--concurrency", "0"],
        ["--networks", "telepathy"],
        ["--url", "grpc://127.0.0.1:1", "--transports", "http"],
    ],
)
def test_wrong_usage_exits_with_2(words, capsys):
    assert main(["bench", "server", *words]) == 2
    assert words[0] in capsys.readouterr().err
