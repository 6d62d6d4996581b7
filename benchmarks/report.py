"""Redraw the tables of the README, the model card and the pages in docs/ from the result files.

    python benchmarks/report.py             # rewrite the pages
    python benchmarks/report.py --check     # exit with 1 if it would change
    python benchmarks/report.py --pictures  # also draw the plots of docs/quality.md again

Each table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``.
"""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from clr_infer.bench.kernels.tables import cpu_tables, gpu_table
from clr_infer.bench.latency_tables import fastest_on_gpu, gpu_latency_table, runtimes_table
from clr_infer.bench.server_tables import server_tables
from clr_infer.evaluate import findings, page_plots, tables
from clr_infer.evaluate.fg_jpeg import SIMULATORS, fidelity
from clr_infer.evaluate.plots import draw_plots
from clr_infer.evaluate.refined import refined_sentence, refined_table
from clr_infer.evaluate.report import read_result
from clr_infer.evaluate.tables import table
from clr_infer.evaluate.targets import targets_table

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
README = ROOT / "README.md"
QUALITY_PAGE = ROOT / "docs" / "quality.md"
EXPORT_PAGE = ROOT / "docs" / "export.md"
KERNELS_PAGE = ROOT / "docs" / "kernels.md"
RUNTIMES_PAGE = ROOT / "docs" / "runtimes.md"
SERVING_PAGE = ROOT / "docs" / "serving.md"
MODEL_CARD = ROOT / "clr_infer" / "weights" / "MODEL_CARD.md"


KODAK, REFINED, LIMITS, COPIES, STRENGTH, REFINING, ABLATIONS, DETECTION, WATERMARKS = (
    "kodak.json.gz",
    "kodak_refined.json.gz",
    "kodak_limits.json.gz",
    "kodak_copies.json.gz",
    "kodak_strength.json.gz",
    "kodak_refining.json.gz",
    "kodak_ablations.json.gz",
    "val_detection.json.gz",
    "watermarks_kodak.json",
)
"""What ``benchmarks/campaign.py`` and ``benchmarks/watermarks.py`` measure."""
OUTPAINTING = "outpainting_kodak.json"
GPU_LATENCY = "latency_gpu.json"
ALIGNMENT, TRAINING = "ablation_alignment.json", "ablation_training.json"
_MISSING = "Not measured with these weights yet; the last section has the command."
FAILURES = "failures.jpg"


def _load(name: str) -> dict:
    return read_result(RESULTS / name)


def _load_if(name: str) -> dict | None:
    return _load(name) if (RESULTS / name).exists() else None


def _drawn(name: str, draw: Callable[[dict], str]) -> str:
    result = _load_if(name)
    return _MISSING if result is None else draw(result)


def _of_kodak(draw: Callable[[dict], str]) -> Callable[[], str]:
    return lambda: draw(_load(KODAK))


def _thresholds() -> dict[str, float]:
    """The confidences that matter: the default, and that fixed on other photographs."""
    fixed = _load_if(DETECTION)
    own = {"default": _load(KODAK)["facts"]["threshold"]}
    return own | ({"fixed on val": fixed["threshold"]["value"]} if fixed else {})


def targets() -> str:
    """The targets beside what was measured."""
    return targets_table(_load(KODAK), *map(_load_if, (LIMITS, DETECTION, OUTPAINTING, REFINED)))


def _of_refined(draw: Callable[[dict, dict], str]) -> Callable[[], str]:
    return lambda: _drawn(REFINED, lambda refined: draw(_load(KODAK), refined))


def recovery() -> str:
    """Every condition on the same crops: PSNR, then SSIM."""
    report = _load(KODAK)
    psnr = tables.recovery_table(report, "psnr", "PSNR dB", 2)
    return f"{psnr}\n\n{tables.recovery_table(report, 'ssim', 'SSIM', 3)}"


def detection() -> str:
    """The threshold fixed on other photographs, and the verdicts at it."""
    fixed = _drawn(DETECTION, findings.threshold_sentence)
    return f"{fixed}\n\n{findings.detection_at(_load(KODAK), _thresholds())}"


def strength() -> str:
    """The strength dial: table and curves."""
    picture = "![visibility, box and recovery against strength](strength.png)"
    return _drawn(STRENGTH, lambda one: f"{findings.arms_table(one, False)}\n\n{picture}")


def failures() -> str:
    """The worst cases: table and pictures."""
    drawn = findings.worst_table(_load(KODAK))
    picture = f"![the worst cases: original, received, recovered, difference]({FAILURES})"
    return f"{drawn}\n\n{picture}" if (ROOT / "docs" / FAILURES).exists() else drawn


def quality() -> str:
    """The headline table on Kodak: kept side 0.6 to 1."""
    report = _load(KODAK)
    found = report["aggregates"]
    labels = {one["name"]: one["label"] for one in report["facts"]["conditions"]}
    rows = []
    for name in [one["name"] for one in report["facts"]["conditions"] if one["swept"]]:
        summary = found["by_condition"][name]["main"]
        out, best = summary["predicted"]["psnr_out"], summary["best_baseline"]["psnr_out"]["value"]
        detection = summary["detection"]
        rows.append(
            [
                labels[name],
                f"{summary['iou_mean']:.3f}",
                f"{summary['iou_p10']:.3f}",
                f"{out:.2f}",
                f"{best:.2f}",
                f"{summary['gain']['psnr_out']:+.2f}",
                f"{100 * detection['tpr']:.1f} %",
                f"{100 * detection['fpr']:.1f} %",
            ]
        )
    header = [
        "kept side 0.6 to 1",
        "box IoU, mean",
        "10th pct.",
        "cropped-out PSNR, dB",
        "best baseline",
        "gain",
        "protected found",
        "false alarms",
    ]
    protected = found["protected"]
    cases = found["by_condition"][name]["main"]["cases"]
    return (
        f"{table(header, rows)}\n\n"
        f"Protected: PSNR {protected['psnr']['mean']:.2f} dB on average, "
        f"{protected['psnr']['min']:.2f} at least; SSIM {protected['ssim']['mean']:.4f}, "
        f"{protected['ssim']['min']:.4f} at least. {cases} crops a row. The baselines (mean "
        "colour, edge replication, blurred outpainting) are given the true place."
    )


def fg_jpeg() -> str:
    """FG-JPEG at 4:2:0, every second measured quality."""
    rows = [row for row in _load("fg_jpeg_kodak.json")["rows"] if row["subsampling"] == "4:2:0"]
    lowest = min(row["psnr_db"]["FG-JPEG"] for row in rows)
    cells = [
        [str(row["qf"]), *(fidelity(row, name) for name in SIMULATORS)]
        for row in rows
        if row["qf"] % 10 == 0 or row["qf"] in (15, 95)
    ]
    drawn = table(["QF", *(f"{name}, dB" for name in SIMULATORS)], cells)
    return f"{drawn}\n\nFG-JPEG's lowest of all measured qualities: {lowest:.1f} dB."


def latency() -> str:
    """Milliseconds and memory of the CPU runtimes, PyTorch as their peer."""
    result = _load("end_to_end_cpu.json")
    rows = []
    by_runtime = {one["runtime"]: one for one in result["runtimes"]}
    names = ("onnxruntime", "openvino", "torch")
    for ours, fast, peer in zip(*(by_runtime[name]["rows"] for name in names), strict=True):
        rows.append(
            [
                f"{ours['call']}, {ours['width']}x{ours['height']}",
                f"{ours['p50_ms']:.0f}",
                f"{ours['p95_ms']:.0f}",
                f"{fast['p50_ms']:.0f}",
                f"{peer['p50_ms']:.0f}",
            ]
        )
    header = [
        "batch 1",
        "embedded p50, ms",
        "p95, ms",
        "with OpenVINO, int8, p50, ms",
        "PyTorch eager p50, ms",
    ]
    drawn = table(header, rows)
    memory = ", ".join(f"{name} {one['peak_mb']} MB" for name, one in by_runtime.items())
    cpu = result["environment"]
    return (
        f"{drawn}\n\n{cpu['cpu']}, {cpu['cpu_cores']} cores; `import clr_infer` "
        f"{result['import']['p50_ms']:.0f} ms; peak memory of the whole run, 12-megapixel image "
        f"included: {memory}.\n\n{fastest_on_gpu(_load(GPU_LATENCY))}"
    )


def training_arms(result: dict) -> str:
    """Small networks trained side by side."""
    rows = []
    for arm in result["arms"]:
        cells = []
        for name in ("clean", "jpeg80", "jpeg60"):
            spread = arm.get("spread_db", {}).get(name)
            shown = "" if not spread else f" ({spread:.2f} between seeds)"
            cells.append(f"{arm['cropped_out_psnr_db'][name]:.2f}{shown}")
        rows.append([arm["name"], str(arm["steps"]), *cells])
    return table(["trained", "steps", "clean, dB", "JPEG 80, dB", "JPEG 60, dB"], rows)


def precision() -> str:
    """What each precision loses end to end, and how large its files are."""
    result = _load("precision.json")
    rows = []

    def losses(lost: dict) -> list[str]:
        return [
            f"{round(lost['protected_psnr_db'], 3) + 0.0:+.3f}",
            f"{round(lost['box_iou'], 4) + 0.0:+.4f}",
            f"{round(lost['cropped_out_psnr_db'], 3) + 0.0:+.3f}",
            f"{round(lost['fg_jpeg_psnr_db'], 3) + 0.0:+.3f}",
        ]

    for name, one in result["onnx"].items():
        engines = result["engines"][name]
        rows.append(
            [
                name,
                *losses(one["quality"]["lost"]),
                f"{sum(one['bytes'].values()) / 2**20:.1f}",
                f"{sum(engines['bytes'].values()) / 2**20:.1f}",
                f"{sum(engines['build_s'].values()):.1f}",
            ]
        )
        if in_openvino := one["quality"].get("lost_in_openvino"):
            rows.append([f"{name}, in OpenVINO", *losses(in_openvino), "–", "–", "–"])
    header = [
        "precision",
        "protected PSNR lost, dB",
        "box IoU lost",
        "cropped-out PSNR lost, dB",
        "FG-JPEG PSNR lost, dB",
        "five ONNX files, MiB",
        "five engines, MiB",
        "built in, s",
    ]
    count, reference = one["quality"]["images"], one["quality"]["reference"]
    return (
        f"{table(header, rows)}\n\n"
        f"{count} photographs, {4 * count} fragments (kept side 0.84 and 0.63; as cropped and as "
        f"JPEG 80). Eager float32: protected {reference['protected_psnr_db']:.2f} dB, IoU "
        f"{reference['box_iou']:.4f}, cropped-out {reference['cropped_out_psnr_db']:.2f} dB, "
        f"FG-JPEG {reference['fg_jpeg_psnr_db']:.2f} dB. Engines: TensorRT-RTX "
        f"{engines['version']}, built on {result['environment']['cpu']}, no GPU."
    )


def kernels() -> str:
    """Times and exactness on the CPU, and what there is of a GPU."""
    on_gpu = "kernels_gpu.json" if (RESULTS / "kernels_gpu.json").exists() else "kernels_cpu.json"
    return f"{cpu_tables(_load('kernels_cpu.json'))}\n\n{gpu_table(_load(on_gpu))}"


def kernels_aot() -> str:
    """What the kernels compile to for an H100 or H200."""
    result = _load("kernels_aot.json")
    header = ["kernel", "registers", "spills", "shared, bytes", "barriers", "instructions"]
    rows = []
    for kernel in result["kernels"]:
        report = kernel["archs"]["sm_90"]
        keys = ("registers", "spills", "shared_bytes", "barriers", "instructions")
        rows.append([f"`{kernel['name']}`", *(str(report[key]) for key in keys)])
    return table(header, rows)


def serving() -> str:
    """What the server adds to a network, and whole images beside a session and FastAPI."""
    if not (RESULTS / "server_cpu.json").exists():
        return "Not measured yet."
    return server_tables(_load("server_cpu.json"))


TABLES = {
    "targets": targets,
    "provenance": _of_kodak(tables.provenance),
    "protected": _of_kodak(tables.protected_table),
    "headline": _of_kodak(tables.headline_table),
    "kept": _of_kodak(tables.kept_table),
    "location": _of_kodak(tables.location_table),
    "recovery": recovery,
    "constants": _of_kodak(tables.constants_table),
    "detection": detection,
    "detection_rows": _of_kodak(tables.detection_table),
    "confidence": _of_kodak(findings.confidence_table),
    "uncertainty": lambda: findings.uncertainty_tables(
        _load(KODAK), *filter(None, [_load_if(LIMITS)])
    ),
    "strength": strength,
    "refined": _of_refined(refined_table),
    "refining": lambda: _drawn(REFINING, lambda one: findings.arms_table(one, False)),
    "refined_in_short": _of_refined(refined_sentence),
    "ablations": lambda: _drawn(ABLATIONS, findings.arms_table),
    "limits": lambda: _drawn(LIMITS, findings.limits_table),
    "copies": lambda: _drawn(COPIES, findings.copies_table),
    "failures": failures,
    "outpainting": lambda: _drawn(
        OUTPAINTING, lambda one: findings.outpainting_table(one, _load(KODAK))
    ),
    "watermarks": lambda: _drawn(WATERMARKS, findings.watermarks_table),
    "quality": quality,
    "fg_jpeg": fg_jpeg,
    "latency": latency,
    "gpu_latency": lambda: gpu_latency_table(_load(GPU_LATENCY)),
    "alignment": lambda: training_arms(_load(ALIGNMENT)),
    "training": lambda: _drawn(TRAINING, training_arms),
    "kernels": kernels,
    "kernels_aot": kernels_aot,
    "precision": precision,
    "runtimes": lambda: runtimes_table(_load("runtimes_cpu.json")),
    "serving": serving,
}
"""Tables by name; a page has those whose markers it has."""
PAGES = (
    README,
    QUALITY_PAGE,
    EXPORT_PAGE,
    KERNELS_PAGE,
    RUNTIMES_PAGE,
    SERVING_PAGE,
    MODEL_CARD,
)
_MARKED = re.compile(r"(<!-- table: (\w+) -->\n)(?:.*?\n)??(<!-- end -->)", re.DOTALL)


def redraw(text: str) -> str:
    """Put the table of :data:`TABLES` that each pair of markers names between them."""

    def drawn(match: re.Match[str]) -> str:
        if match[2] not in TABLES:
            raise SystemExit(f"there is no table {match[2]}, only {', '.join(TABLES)}")
        return f"{match[1]}{TABLES[match[2]]()}\n{match[3]}"

    return _MARKED.sub(drawn, text)


def draw_pictures(folder: Path) -> None:
    """Draw the plots of the quality page from the result files."""
    report = _load(KODAK)
    draw_plots(report, folder)
    page_plots.draw_detection(report, _thresholds(), folder / "detection.png")
    page_plots.draw_uncertainty(report, folder / "uncertainty.png")
    dial = _load_if(STRENGTH)
    if dial is not None:
        page_plots.draw_strength(dial, folder / "strength.png")


def main(words: Sequence[str] | None = None) -> int:
    """Rewrite or check the pages; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if a page would change")
    parser.add_argument("--pictures", action="store_true", help="also draw the plots again")
    args = parser.parse_args(words)
    if args.pictures:
        draw_pictures(QUALITY_PAGE.parent)
    changed = 0
    for page in PAGES:
        old = page.read_text("utf-8")
        new = redraw(old)
        changed |= int(old != new)
        if not args.check:
            page.write_text(new, "utf-8")
    return changed if args.check else 0


if __name__ == "__main__":
    sys.exit(main())
