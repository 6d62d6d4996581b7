import copy

import numpy as np
import pytest
from PIL import Image

from clr_infer.errors import InputError
from clr_infer.evaluate import EvaluationSet, evaluate, findings, page_plots
from clr_infer.evaluate.baselines import BASELINES
from clr_infer.evaluate.protocol import pick_condition
from clr_infer.evaluate.refined import refined_sentence, refined_table
from clr_infer.evaluate.targets import Target, targets, targets_table


@pytest.fixture(scope="module")
def report(measured):
    return measured.as_dict()


def share(report, key):
    return 100 * np.mean([row[key] for row in report["cases"]])


def test_a_target_is_reached_missed_or_not_measured():
    assert Target("a", 0.98, 0.98, 2).reached and not Target("a", 0.98, 0.9799, 4).reached
    assert Target("a", 0.1, 0.1, 2, at_most=True).reached
    assert not Target("a", 0.1, 0.11, 2, at_most=True).reached
    assert Target("a", 40.0, None, 2, unit=" dB").cells() == ["a", "40 dB", "–", "not measured"]
    assert Target("a", 20.5, 20.4, 2, unit=" dB").cells()[1:] == [
        "20.5 dB",
        "20.40 dB",
        "**missed**",
    ]


def test_targets_of_a_report(report):
    threshold = {"threshold": {"value": 0.5}}
    guessed = {"cropped_out_psnr_db": {"clean": 12.5, "jpeg80": 12.0, "jpeg60": 11.0}}
    by_name = {one.what: one for one in targets(report, None, threshold, guessed)}
    clean = report["aggregates"]["by_condition"]["clean"]["main"]
    assert by_name["box IoU, mean: crop only"].measured == clean["iou_mean"]
    assert by_name["over the best baseline: crop only"].measured == clean["gain"]["psnr_out"]
    ahead = by_name["over an outpainting network without protection: crop only"].measured
    assert ahead == pytest.approx(clean["predicted"]["psnr_out"] - 12.5)
    assert by_name["box IoU, mean: JPEG 70"].measured is None  # was not in the run
    assert by_name["box IoU, mean: JPEG 50, kept 0.5"].measured is None
    (found,) = [one for name, one in by_name.items() if name.startswith("protected found")]
    (alarms,) = [one for name, one in by_name.items() if name.startswith("false alarms")]
    assert 50 < found.measured == pytest.approx(share(report, "protected")) and not found.reached
    assert 0 < alarms.measured == pytest.approx(share(report, "unprotected_verdict"))
    assert alarms.reached is False
    corner = by_name["corner error, median, % of the side"]
    main = [row for row in report["cases"] if 0.6 <= row["kept"] < 1.0]
    boxes = [(row["predicted_box"] or [9.0] * 4, row["box"]) for row in main]
    errors = sorted(np.abs(np.subtract(*pair)).max() for pair in boxes)
    assert corner.measured == pytest.approx(100 * errors[(len(errors) - 1) // 2])
    beyond = {**report["cases"][0], "condition": "clean-third", "confidence": 0.0}
    more = report | {"cases": [*report["cases"], {**beyond, "unprotected_confidence": 1.0}]}
    again = {one.what: one.measured for one in targets(more, None, threshold)}
    assert again[found.what] == found.measured and again[alarms.what] == alarms.measured
    text = targets_table(report, None, None)
    assert "not measured" in text and f"{len(by_name)} are set" in text and "refined" not in text
    better = copy.deepcopy(report) | {"facts": report["facts"] | {"refine": 12}}
    better["aggregates"]["protected"]["psnr"] = {"mean": 41.5, "min": 37.5}
    third = {"n": 1, "iou_mean": 0.97}
    better["aggregates"]["by_condition"]["clean-third"] = {"below": third}
    rows = targets_table(report, None, None, refined=better).splitlines()
    assert rows[0].endswith("| measured |  | refined in 12 steps |  |")
    (mean,) = [row for row in rows if row.startswith("| protected PSNR, mean")]
    assert mean.endswith("| 41.50 dB | reached |")
    (worst,) = [row for row in rows if row.startswith("| protected PSNR, worst")]
    assert worst.endswith("| 37.50 dB | **missed** |")
    (small,) = [row for row in rows if row.startswith("| box IoU, mean: crop only, kept 0.35")]
    assert small.endswith("| – | not measured | 0.9700 | reached |")
    assert "refined in 12 steps: " in rows[-1]


def test_what_refining_brings_is_said_of_the_same_crops(report):
    better = copy.deepcopy(report) | {"facts": report["facts"] | {"refine": 12}}
    main = better["aggregates"]["by_condition"]["clean"]["main"]
    main["predicted"]["psnr_out"] += 0.75
    better["aggregates"]["by_condition"]["clean-third"] = {"below": {"n": 1, "iou_mean": 0.97}}
    other = {"expected_psnr_out": 90.0, "predicted_psnr_out": 10.0}
    better["cases"].append({**report["cases"][0], **other, "kept": 0.35, "protected": False})
    (missed, *_) = [row for row in better["cases"] if row["expected_psnr_out"] is None]
    missed |= other  # the plain report has no such number
    for image, seconds in zip(better["images"], (3, 4, 5, 90), strict=True):
        image["protect_ms"] = 1000.0 * seconds
    text = refined_table(report, better)
    clean = report["aggregates"]["by_condition"]["clean"]["main"]["predicted"]["psnr_out"]
    labels = [one["label"] for one in report["facts"]["conditions"]]
    rows = text.splitlines()[2 : 2 + len(labels)]
    assert [row.split(" | ")[0].strip("| ") for row in rows] == labels
    assert rows[0].endswith(f"| {clean:.2f} | {clean + 0.75:.2f} | +0.75 |")
    assert all(row.endswith("| +0.00 |") for row in rows[1:])
    found = sum(row["protected"] for row in report["cases"])
    assert f"{found} of the {len(report['cases'])} fragments are recognised" in text
    known = [row for row in report["cases"] if row["expected_psnr_out"] and row["kept"] < 1.0]
    bias = np.mean([row["expected_psnr_out"] - row["predicted_psnr_out"] for row in known])
    assert f"lies {bias:+.2f} dB from what it is, on average ({bias:+.2f})" in text
    assert "12 steps take 4 seconds" in text  # the median: 4.5, to the even one
    short = refined_sentence(report, better)
    assert "`clr-infer protect --refine 12`" in short and f", and {clean + 0.75:.2f} dB" in short


def test_the_worst_cases_are_chosen_by_rule(report):
    chosen = findings.worst_cases(report, 4)
    assert [rule for rule, _ in chosen] == ["IoU", "IoU", "gain", "gain"]
    by_iou, by_gain = [[row for rule, row in chosen if rule == name] for name in ("IoU", "gain")]
    assert by_iou[0]["iou"] == by_iou[1]["iou"] == 0.0
    for rows in (by_iou, by_gain):
        assert len({row["image"] for row in rows}) == 2
    rest = [row for row in report["cases"] if row["predicted_psnr_out"] and row not in by_iou]
    assert findings.gain_of(by_gain[0]) == min(map(findings.gain_of, rest))
    assert len(findings.worst_table(report).splitlines()) == 2 + 6


def test_no_case_is_worst_twice_and_gains_are_over_the_best_baseline():
    baselines = {f"{name}_psnr_out": 10.0 + at for at, name in enumerate(BASELINES)}
    best = max(baselines.values())
    cases = [
        {"image": name, "iou": iou, "predicted_psnr_out": best + gain} | baselines
        for name, iou, gain in (("a", 0.1, -5.0), ("b", 0.9, 1.0), ("c", 0.5, 4.0))
    ]
    assert [findings.gain_of(row) for row in cases] == [-5.0, 1.0, 4.0]
    worst = findings.worst_cases({"cases": cases}, count=2)
    assert [(rule, row["image"]) for rule, row in worst] == [("IoU", "a"), ("gain", "b")]


def test_reliability_holds_a_confidence_against_its_box(report):
    rows = findings.reliability_of(report)
    assert sum(row["cases"] for row in rows) == 2 * len(report["cases"])
    said = [row for row in report["cases"] if row["confidence"] == 0.75]
    alarms = sum(row["unprotected_confidence"] == 0.75 for row in report["cases"])
    assert (rows[-1]["cases"], rows[-1]["confidence"]) == (len(said) + alarms, 0.75)
    right = sum(row["iou"] > 0.9 for row in said)
    assert rows[-1]["right"] == pytest.approx(right / (len(said) + alarms)) != 1.0
    assert rows[0]["right"] == 0.0
    assert "0.7 to 0.8" in findings.confidence_table(report)


def test_verdicts_at_thresholds(report):
    text = findings.detection_at(report, {"default": 0.5, "low": 0.2})
    found, alarms = share(report, "protected"), share(report, "unprotected_verdict")
    assert f"| default | 0.5 | {found:.2f} % | {alarms:.2f} % |" in text
    assert "| low | 0.2 | 100.00 % | 100.00 % |" in text and "none" in text
    missed = findings.detection_at(report, {"default": 0.5}).split("threshold: ")[1]
    assert "crop only (4)" in missed  # one image at four kept sides


def test_limits_have_a_row_each(report):
    text = findings.limits_table(report)
    assert len(text.splitlines()) == 2 + len(report["facts"]["conditions"])


def test_copies_stand_beside_the_networks(session):
    image = [("a", session.picture("found")), ("b", session.picture("missed"))]
    report = evaluate(session, image, "copies", progress=False).as_dict()
    drawn = findings.copies_table(report)
    rows = [line.split(" | ") for line in drawn.splitlines() if line.startswith("| ")][2:]
    labels = [row[0].removeprefix("| ") for row in rows]
    assert labels[:3] == ["crop only", "crop only, kept below 0.6", "crop only, kept 0.5"]
    assert labels[-2:] == ["JPEG 95", "JPEG 80"] and len(labels) == 9
    assert rows[0][1:3] == ["12", "50.0 %"]
    main = report["aggregates"]["by_condition"]["clean"]["main"]
    assert rows[0][4] == f"{main['predicted']['psnr_out']:.2f}"
    assert rows[0][6] == f"{main['true']['psnr_out']:.2f}"
    assert "with the copy" in drawn


def test_watermarks_show_what_comes_back_and_what_does_not():
    names = {"clean": "crop only"}
    none = {"bits_right": None, "whole_message": None, "iou": None, "psnr_out": None, "refused": 0}
    message = none | {"bits_right": 0.5, "whole_message": 0.25, "refused": 1}
    place = none | {"iou": 0.99, "psnr_out": 21.0}
    methods = [("theirs", message), ("ours", place)]
    rows = [{"label": n, "psnr": 40.0, "by_condition": {"clean": one}} for n, one in methods]
    text = findings.watermarks_table({"conditions": names, "methods": rows, "images": 2})
    assert "| theirs | 40.00 | 50 % (25 %) |" in text and "no message: 1." in text
    assert "| ours: box IoU | 0.990 |" in text and "| ours: cropped-out PSNR, dB | 21.00 |" in text


def test_pictures_of_the_page(report, tmp_path):
    page_plots.draw_detection(report, {"default": 0.5, "fixed on val": 0.3}, tmp_path / "a.png")
    row = {"iou_mean": 0.9, "psnr_out": 20.0}
    visible = {key: {"mean": 0.9} for key in ("ssim", "ms_ssim")}
    arms = [
        {
            "psnr_db": db,
            "protected": visible,
            "by_condition": dict.fromkeys(("clean", "jpeg80", "jpeg60"), row),
        }
        for db in (37.0, 38.0)
    ]
    page_plots.draw_strength({"arms": arms}, tmp_path / "b.png")
    for name in ("a.png", "b.png"):
        with Image.open(tmp_path / name) as picture:
            assert np.asarray(picture.convert("L")).std() > 5


def test_the_gallery_refuses_other_weights_and_other_images(report, session):
    from clr_infer.evaluate.gallery import draw_gallery

    with pytest.raises(InputError, match="not of these weights"):
        draw_gallery(session, [], report | {"facts": {"weights": {"files": {}}}})
    session.weights.manifest["files"] = report["facts"]["weights"]["files"]
    wrong = [(one["name"], np.zeros((64, 64, 3), np.uint8)) for one in report["images"]]
    with pytest.raises(InputError, match="give the same images"):
        draw_gallery(session, wrong, report)


def test_the_gallery_shows_every_case_again(report, session, monkeypatch):
    from clr_infer.evaluate.gallery import draw_gallery

    monkeypatch.setattr("clr_infer.evaluate.gallery._TILE_PX", 200)  # lines as they were drawn
    images = [(f"image{i}", session.picture("found")) for i in range(3)]
    images.append(("image3", session.picture("missed")))
    clean = [row for row in report["cases"] if row["condition"] == "clean"]
    sheet = draw_gallery(session, images, report | {"cases": clean}, count=4)
    assert sheet.shape[1] > 4 * 200 and sheet.shape[0] > 4 * 180
    green, red = (60, 230, 110), (255, 70, 70)
    colours = {tuple(pixel) for pixel in sheet.reshape(-1, 3).tolist()}
    assert green in colours and red in colours


@pytest.mark.parametrize("name", ["mirror --turned", "jpeg=77"])
def test_the_gallery_repeats_a_case_as_it_was_measured(session, name):
    """Sought on its sides, refined, with a copy, after a chain of one's own."""
    from clr_infer.evaluate.gallery import draw_gallery

    given, images = pick_condition(name), [("a", session.picture("found"))]
    copied = EvaluationSet("copied", (given,), (0.84,), copy=True)
    report = evaluate(session, images, copied, refine=3, progress=False).as_dict()
    session.copied, session.refined, session.sought = False, 0, []
    draw_gallery(session, images, report, count=2)
    assert (session.copied, session.refined) == (True, 3)
    assert session.sought == [given.turned] * len(session.sought) != []


def test_outpainting_stands_beside_the_method(report):
    clean = report["aggregates"]["by_condition"]["clean"]["main"]
    spent = {"steps": 1200, "minutes_spent": 10.0}
    result = {"cropped_out_psnr_db": {"clean": 12.5}, "training": spent}
    text = findings.outpainting_table(result, report)
    gain = clean["predicted"]["psnr_out"] - 12.5
    assert "1,200 steps" in text and "| 12.50 |" in text and f"{gain:+.2f} |" in text
