import numpy as np
import pytest

from clr_infer.errors import ImageError, InputError, UsageError
from clr_infer.evaluate import CONDITIONS, evaluate
from clr_infer.evaluate.aggregate import summarise
from clr_infer.evaluate.case import recover_with_true_box, verdict
from clr_infer.evaluate.metrics import MS_SSIM_SIDE_MIN
from clr_infer.evaluate.protocol import Condition
from clr_infer.evaluate.run import measure_visibility
from clr_infer.geometry import Box, box_iou

CLEAN = [CONDITIONS["clean"]]


def run(session, *treatments, **options):
    images = [(f"image{i}", session.picture(one)) for i, one in enumerate(treatments)]
    options = {"conditions": CLEAN, "kept": [0.71], "progress": False} | options
    return evaluate(session, images, **options)


def test_a_perfect_answer_is_perfect(session):
    report = run(session, "found", "found", kept=[1.0, 0.84, 0.55])
    assert len(report.cases) == 6
    for row in report.cases:
        assert row["protected"] and row["confidence"] == 0.75
        assert row["iou"] == pytest.approx(1.0) and row["corner_px"] == pytest.approx(0.0)
        assert row["predicted_psnr"] == 100.0 and row["predicted_ssim"] == pytest.approx(1.0)
        assert not row["unprotected_verdict"] and row["unprotected_confidence"] == 0.25
        outside = (row["predicted_psnr_out"], row["predicted_ssim_out"], row["f1"])
        assert outside == ((None,) * 3 if row["kept"] == 1.0 else (100.0, 1.0, 1.0))
        assert row["recover_ms"] > 0 and row["error"] is None
    summary = summarise(report.cases)
    assert summary["iou_mean"] == summary["iou_p10"] == summary["iou_above_09"] == 1.0
    assert summary["detection"] == {"cases": 6, "tpr": 1.0, "fpr": 0.0, "auc": 1.0}


def test_each_image_is_protected_once_and_measured(session):
    report = run(session, "found", "found", kept=[0.84, 0.55])
    assert len(session.protected) == 3  # with the one that loads the networks
    error = 1.0 / 3.0  # one of three channels is one grey level off
    for row in report.images:
        assert row["psnr"] == pytest.approx(10 * np.log10(255**2 / error), abs=1e-5)
        assert 0.999 < row["ms_ssim"] <= 1.0 and (row["width"], row["height"]) == (200, 180)


def test_the_true_box_reaches_the_recover_network(session):
    report = run(session, "found", "missed", kept=[0.84, 0.55])
    boxes = [Box(*row["box"]) for row in report.cases]
    for given, true in zip(session.runtime.boxes, boxes, strict=True):
        np.testing.assert_allclose(given, true, rtol=0, atol=1e-6)
    for row in report.cases:  # the fake network recovers black, the inside is kept
        assert row["true_psnr_out"] < row["mean_colour_psnr_out"] < row["true_psnr"] + 20


def test_a_missed_protection_counts_as_a_mean_colour_frame(session):
    (row,) = run(session, "missed").cases
    assert not row["protected"] and row["predicted_box"] is None and row["corner_px"] is None
    assert row["iou"] == 0.0 and row["f1"] == 0.0 and row["recover_ms"] is None
    assert row["predicted_psnr_out"] == row["mean_colour_psnr_out"]
    assert row["predicted_psnr"] < row["mean_colour_psnr"]  # nothing tells where the inside goes


def test_an_error_counts_against_the_method_both_times(session):
    (row,) = run(session, "refused").cases
    assert (row["protected"], row["confidence"]) == (False, 0.0)
    assert (row["unprotected_verdict"], row["unprotected_confidence"]) == (True, 1.0)
    assert row["error"] == "refused"
    assert summarise([row])["detection"]["auc"] == 0.0


def test_a_refusal_is_the_wrong_verdict_of_either_kind(session):
    picture = session.picture("refused")
    assert verdict(session, picture, protected=True).confidence == 0.0
    assert verdict(session, picture, protected=False).confidence == 1.0


def test_an_error_on_the_unprotected_twin_alone_is_a_false_alarm(session, monkeypatch):
    locate = session.locate

    def refuse_unmarked(image, *, turned=False):
        if image[0, 0, 2] % 10 == 0:
            raise ImageError("refused as it is")
        return locate(image, turned=turned)

    monkeypatch.setattr(session, "locate", refuse_unmarked)
    (row,) = run(session, "found").cases
    assert row["protected"] and row["iou"] == pytest.approx(1.0)
    assert row["unprotected_verdict"] and row["error"] == "refused as it is"


def test_what_is_to_be_looked_for_on_its_sides_is(session):
    sought = Condition("sought", "sought", (), turned=True)
    run(session, "found", conditions=[sought])
    assert session.sought[-2:] == [True, True]  # protected and not
    run(session, "found")
    assert session.sought[-2:] == [False, False]


def test_the_error_of_a_pixel_is_the_mean_of_its_channels(session, monkeypatch):
    recover = session.recover

    def off(image, *, turned=False):
        found = recover(image, turned=turned)
        found.image[..., 0] += 3
        return found

    monkeypatch.setattr(session, "recover", off)
    (row,) = run(session, "found").cases
    ((pixels, expected, measured),) = [one for one in row["uncertainty"] if one[0]]
    assert 0 < pixels < 200 * 180 and (expected, measured) == (25 * pixels, 3 * pixels)


def test_aggregates_of_hits_misses_and_false_alarms(session):
    report = run(session, "found", "found", "missed", "false alarm")
    summary = summarise(report.cases)
    assert summary["iou_mean"] == pytest.approx(0.75)
    assert summary["iou_p10"] == pytest.approx(0.3)
    assert summary["iou_above_09"] == 0.75
    assert summary["corner_px_median"] == pytest.approx(0.0)
    assert summary["detection"]["tpr"] == 0.75 and summary["detection"]["fpr"] == 0.25
    # Positives score .75 .75 .25 .75, negatives .25 .25 .25 .75.
    assert summary["detection"]["auc"] == pytest.approx((3 * 3.5 + 3 * 0.5) / 16)
    missed = report.cases[2]["mean_colour_psnr_out"]
    assert summary["predicted"]["psnr_out"] == pytest.approx((300 + missed) / 4, abs=1e-5)
    best = max(value["psnr_out"] for value in summary["baselines"].values())
    assert summary["best_baseline"]["psnr_out"]["value"] == best
    assert summary["gain"]["psnr_out"] == pytest.approx(
        summary["predicted"]["psnr_out"] - best, abs=1e-5
    )


def test_the_corner_error_of_a_majority_of_misses_is_unknown(session):
    report = run(session, "found", "missed", "missed")
    assert summarise(report.cases)["corner_px_median"] is None
    assert summarise(report.cases[:2])["corner_px_median"] is None
    row = report.cases[0]
    for errors, median in (([4.0, 1.0], 2.5), ([9.0, 1.0, 2.0], 2.0), ([3.0, None, 1.0, 2.0], 2.5)):
        rows = [row | {"corner_px": error} for error in errors]
        assert summarise(rows)["corner_px_median"] == median


def test_boxes_count_as_right_above_an_overlap(session):
    (row,) = run(session, "found").cases
    rows = [row | {"iou": overlap} for overlap in (0.95, 0.9, 0.89, 0.4)]
    assert summarise(rows)["iou_above_09"] == 0.25


def test_constant_answers(session):
    report = run(session, "found", "found", "found")
    boxes = [Box(*row["box"]) for row in report.cases]
    constants = summarise(report.cases)["constants"]
    assert constants["whole_frame_iou"] == pytest.approx(np.mean([b.area for b in boxes]), abs=1e-5)
    mean_box = Box(*np.mean(boxes, axis=0))
    expected = np.mean([box_iou(mean_box, box) for box in boxes])
    assert constants["mean_box_iou"] == pytest.approx(expected, abs=1e-5)


def test_runs_repeat_and_publish_their_crops(session):
    conditions = [CONDITIONS["clean"], CONDITIONS["noise0.04"]]
    first = run(session, "found", "found", kept=[0.84, 0.71], conditions=conditions, seed=3)
    again = run(session, "found", "found", kept=[0.84, 0.71], conditions=conditions, seed=3)

    def untimed(rows):
        return [{k: v for k, v in row.items() if not k.endswith("_ms")} for row in rows]

    assert untimed(first.cases) == untimed(again.cases) and first.crops == again.crops
    assert [(row["index"], row["kept"]) for row in first.crops] == [
        (0, 0.84),
        (0, 0.71),
        (1, 0.84),
        (1, 0.71),
    ]
    other = run(session, "found", "found", kept=[0.84, 0.71], conditions=conditions, seed=4)
    assert [row["box_px"] for row in first.crops] != [row["box_px"] for row in other.crops]
    noisy = [row for row in first.cases if row["condition"] == "noise0.04"]
    assert [row["kept"] for row in noisy] == [0.84, 0.71] and all(row["paired"] for row in noisy)


def test_the_unprotected_twin_has_the_noise_of_the_seed_and_the_protected_one(session, monkeypatch):
    seen, locate = [], session.locate

    def noted(image, *, turned=False):
        seen.append(image)
        return locate(image, turned=turned)

    monkeypatch.setattr(session, "locate", noted)
    for seed in (3, 4):
        run(session, "found", kept=[1.0], conditions=[CONDITIONS["noise0.04"]], seed=seed)
    _, one, its_twin, _, other, _ = seen  # the first of each run loads the networks
    assert np.array_equal(one[..., :2], its_twin[..., :2]) and (one != its_twin).any()
    assert (one[..., :2] != other[..., :2]).any()


def test_the_true_box_has_the_soft_edge_of_the_settings(session):
    light = np.full((90, 100, 3), 200, np.uint8)  # over the black that the fake network recovers
    box = Box(0.25, 0.25, 0.75, 0.75)
    whole = recover_with_true_box(session, light, box, (200, 180))
    assert whole[90, 100, 0] == 200 and whole[90, 40, 0] == 0 and 0 < whole[90, 50, 0] < 200


def test_a_smaller_fragment_is_compared_at_the_size_of_the_original(session):
    half = [CONDITIONS["resize0.5"]]
    (row,) = run(session, "missed", conditions=half).cases
    width, height = (np.array(row["box"])[2:] - np.array(row["box"])[:2]) * [200, 180]
    assert row["received_px"] == [round(round(width) / 2), round(round(height) / 2)]
    assert row["edge_psnr"] > row["edge_psnr_out"]


def test_small_images_have_no_ms_ssim(session):
    image = session.picture("found")[:100]
    report = evaluate(session, [("low", image)], conditions=CLEAN, kept=[0.84], progress=False)
    assert report.images[0]["ms_ssim"] is None
    assert report.as_dict()["aggregates"]["protected"]["ms_ssim"] == {"mean": None, "min": None}
    least = session.picture("found")[:MS_SSIM_SIDE_MIN]
    assert measure_visibility(least, least) == {"psnr": 100.0, "ssim": 1.0, "ms_ssim": 1.0}


def test_bad_requests_fail_before_any_work(session):
    image = session.picture("found")
    for images, options in (
        ([], {}),
        ([("a", image)], {"conditions": []}),
        ([("a", image)], {"conditions": CLEAN * 2}),
        ([("a", image)], {"kept": [0.0]}),
    ):
        with pytest.raises(InputError):
            evaluate(session, images, progress=False, **options)
    with pytest.raises(ImageError):
        evaluate(session, [("a", image), ("b", image[..., 0])], progress=False)
    assert session.protected == []


def test_payloads_are_refined_where_it_is_asked_for(session):
    image = [("a", session.picture("found"))]
    plain = evaluate(session, image, conditions=CLEAN, kept=[0.84], progress=False)
    assert session.refined == plain.facts["refine"] == 0
    refined = evaluate(session, image, conditions=CLEAN, kept=[0.84], refine=7, progress=False)
    assert session.refined == refined.facts["refine"] == 7


def test_sets_by_name_and_strength(session):
    image = [("a", session.picture("found"))]
    report = evaluate(session, image, "quick", kept=[0.84], psnr_db=35.0, progress=False)
    assert [row["condition"] for row in report.cases] == ["clean", "jpeg80", "jpeg60"]
    assert session.strength == report.facts["psnr_db"] == 35.0
    evaluate(session, image, conditions=CLEAN, kept=[0.84], progress=False)
    assert session.strength == 38.5
    assert not session.copied and report.facts["copy"] is False
    copied = evaluate(session, image, "copies", kept=[0.84], progress=False)
    assert session.copied and copied.facts["copy"] is True
    assert [row["from_copy"] for row in copied.cases] == [r["protected"] for r in copied.cases]
    assert any(row["from_copy"] for row in copied.cases)
    with pytest.raises(UsageError, match="quick, full"):
        evaluate(session, image, "quickest")
