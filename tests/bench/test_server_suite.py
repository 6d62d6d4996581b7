"""``clr-infer bench server``, quickly: real tools, a real server, a real peer."""

import json

import pytest

from clr_infer.cli import main


def test_the_quick_suite_fills_every_section(tmp_path, capsys):
    out, plot = tmp_path / "server.json", tmp_path / "server.png"
    assert main(["bench", "server", "--quick", "-o", str(out), "--plot", str(plot)]) == 0
    result = json.loads(out.read_text("utf-8"))
    assert result["kind"] == "server" and result["command"].startswith("clr-infer ")
    assert result["environment"]["packages"]["tritonclient"]
    (network,) = result["network_level"]
    assert network["tool"] == "perf_analyzer" and network["server_compute_ms"] > 0
    assert network["in_process_p50_ms"] > 0
    served = result["image_level"]
    assert [row["concurrency"] for row in served] == [1, 4]
    for row in served + result["in_process"] + result["peer"]:
        assert row["failed"] == 0 and row["requests"] > 0
        assert row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
    assert served[0]["server"]["localize_network"]["compute_ms"] > 0
    assert served[0]["memory_mb"] > 100 and served[0]["cpu_cores"] > 0
    assert set(result["goals"]["throughput_of_in_process"]["found"]) == {"locate"}
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "words",
    [["--calls", "dance"], ["--size", "big"], ["--slo", "p12=5ms"], ["--transports", "pigeon"]],
)
def test_wrong_usage_exits_with_2(words, capsys):
    assert main(["bench", "server", *words]) == 2
    assert words[0] in capsys.readouterr().err
