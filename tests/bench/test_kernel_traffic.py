"""The byte model against arithmetic done by hand."""

import json
from pathlib import Path

import pytest

from clr_infer.bench.kernels.traffic import (
    Traffic,
    composite_traffic,
    jpeg_backward_traffic,
    jpeg_forward_traffic,
    place_traffic,
    preprocess_traffic,
    residual_merge_traffic,
)

PIXELS = 32 * 512 * 512


def _per_pixel(traffic) -> tuple[float, float]:
    return traffic.moved / PIXELS, traffic.needed / PIXELS


def test_the_floors_that_were_published():
    fp32 = jpeg_forward_traffic(PIXELS, 4, "4:4:4")
    assert fp32.moved == fp32.needed == 201_326_592
    assert jpeg_forward_traffic(PIXELS, 2, "4:2:0").needed == 201_326_592 // 2
    assert jpeg_forward_traffic(PIXELS, 1, "4:2:0").needed == 201_326_592 // 4
    assert jpeg_backward_traffic(PIXELS, 4, "4:2:0").needed == 201_326_592
    assert jpeg_backward_traffic(PIXELS, 4, "4:2:0", "soft").needed == 201_326_592 * 3 // 2


@pytest.mark.parametrize(
    ("arguments", "moved"),
    [
        ((4, "4:2:0"), 12 + 1.5 + 1.5 + 12),
        ((1, "4:2:0"), 3 + 1.5 + 1.5 + 3),
        ((4, "4:2:2"), 12 + 2 + 2 + 12),
        ((4, "4:2:0", "ste", True), 12 + 3 + 3 + 12 + 1),
        ((4, "4:4:4", "ste", True), 12 + 12 + 1),
        ((2, "4:2:0", "soft", True), 6 + 6 + 6 + 6 + 1),
    ],
)
def test_forward(arguments, moved):
    assert _per_pixel(jpeg_forward_traffic(PIXELS, *arguments)) == (moved, 6 * arguments[0])


@pytest.mark.parametrize(
    ("arguments", "moved"),
    [
        ((4, "4:2:0"), (12 + 1 + 6) + (6 + 12)),
        ((2, "4:2:0"), (6 + 1 + 6) + (6 + 6)),
        ((4, "4:2:2"), 12 + 1 + 12),
        ((4, "4:4:4"), 12 + 1 + 12),
        ((4, "4:2:0", "soft"), (12 + 1 + 6) + (12 + 6 + 6) + (6 + 12)),
        ((4, "4:4:4", "soft"), (12 + 1 + 12) + (12 + 12 + 12) + (12 + 12)),
    ],
)
def test_backward(arguments, moved):
    assert _per_pixel(jpeg_backward_traffic(PIXELS, *arguments))[0] == moved


def test_serving_operations():
    # 1024x768 to 512: rows first, 768 of 512 pixels between the passes
    needed = 3 * 768 * 1024 + 12 * 512 * 512
    assert preprocess_traffic(2, (768, 1024), 512).moved == 2 * (needed + 6 * 768 * 512)
    assert preprocess_traffic(2, (768, 1024), 512).needed == 2 * needed
    one_pass = preprocess_traffic(1, (512, 1024), 512)
    assert one_pass.moved == one_pass.needed
    assert place_traffic(32, 512).moved == 28 * PIXELS
    merged = residual_merge_traffic((768, 1024), 512)
    assert merged.moved - merged.needed == 12 * 512 * 512
    whole = composite_traffic((512, 512), (512, 512), 512)
    assert whole.moved == whole.needed == (12 + 3 + 3) * 512 * 512
    # half of the canvas is covered: what lies between the passes is written, and half of it read
    half = composite_traffic((768, 512), (768, 1024), 512)
    assert half.moved - half.needed == 3 * 512 * 1024 * 3 / 2


def test_published_shares_are_those_of_this_model():
    path = Path(__file__).parents[2] / "benchmarks" / "results" / "kernels_gpu.json"
    gpu = json.loads(path.read_text("utf-8"))["gpu"]
    ours = [r for r in gpu["rows"] if r["op"] == "jpeg_simulate" and r["contestant"] == "kernel"]
    for row in ours:
        rounding, dtype, subsampling = row["variant"].split(", ")
        case = (row["batch"] * row["size_px"] ** 2, {"fp32": 4, "bf16": 2}[dtype], subsampling)
        forward, both = row["mode"] == "forward", row["mode"] == "forward+backward"
        total = jpeg_forward_traffic(*case, rounding, both) if forward or both else Traffic(0, 0)
        total += Traffic(0, 0) if forward else jpeg_backward_traffic(*case, rounding)
        assert (row["bytes_moved"], row["bytes_needed"]) == (total.moved, total.needed)
        share = 1000.0 * total.moved / gpu["copy"]["bytes_per_s"] / row["p50_ms"]
        assert row["share_of_copy"] == pytest.approx(share, abs=1e-4)
    assert {row["mode"] for row in ours} == {"forward", "backward", "forward+backward"}


def test_both_ways_add_up():
    total = jpeg_forward_traffic(10, 4, "4:2:0", "ste", True) + jpeg_backward_traffic(
        10, 4, "4:2:0"
    )
    assert (total.moved, total.needed) == (310 + 370, 240 + 240)
