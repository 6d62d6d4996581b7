"""Arms and verdicts, with the shipped networks on small pictures."""

import numpy as np
import pytest

import clr_infer
from clr_infer.evaluate import CONDITIONS, EvaluationSet
from clr_infer.evaluate.arms import ABLATIONS, REFINING, STRENGTHS, Arm, measure_arms
from clr_infer.evaluate.detection import measure_detection
from clr_infer.evaluate.findings import arms_table, threshold_sentence
from clr_infer.evaluate.protocol import MAIN_KEPT, draw_crop


@pytest.fixture(scope="module")
def shipped():
    return clr_infer.load("onnxruntime", threads=1)


@pytest.fixture(scope="module")
def ablations(shipped, raccoon):
    images = [("raccoon", np.ascontiguousarray(raccoon[:384, :512]))]
    return measure_arms(shipped, images, "ablations", progress=False)


def test_each_arm_changes_one_thing(ablations):
    assert [arm["name"] for arm in ablations["arms"]] == [arm.name for arm in ABLATIONS]
    assert len(ablations["cases"]) == 3 * len(ABLATIONS)
    by_arm = {arm["name"]: arm for arm in ablations["arms"]}
    shipped, aligned = by_arm["shipped"], by_arm["no-align"]
    assert shipped["protected"] == aligned["protected"] == by_arm["fg-jpeg"]["protected"]
    for name in ("clean", "jpeg80"):
        ours, without = (arm["by_condition"][name] for arm in (shipped, aligned))
        assert ours["iou_mean"] == without["iou_mean"]  # the align network serves recovery alone
        assert ours["psnr_out"] != without["psnr_out"]
    simulated = by_arm["fg-jpeg"]["by_condition"]
    assert simulated["clean"] == shipped["by_condition"]["clean"]
    gap = simulated["jpeg80"]["psnr_out"] - shipped["by_condition"]["jpeg80"]["psnr_out"]
    assert 0 < abs(gap) < 1.0
    assert by_arm["frame384"]["by_condition"]["clean"]["iou_mean"] > 0.9


def test_the_table_of_arms(ablations):
    text = arms_table(ablations)
    assert all(f"| {arm.label} |" in text for arm in ABLATIONS)
    assert "with the true box" in text and "(" not in arms_table(ablations, False)


def test_a_fragment_that_is_too_small_is_refused_in_every_arm(shipped, raccoon, monkeypatch):
    chosen = tuple(arm for arm in ABLATIONS if arm.name in ("shipped", "fg-jpeg"))
    monkeypatch.setitem(measure_arms.__globals__["ARM_SETS"], "ablations", chosen)
    images = [("tiny", np.ascontiguousarray(raccoon[:32, :32]))]
    result = measure_arms(shipped, images, "ablations", progress=False)
    assert len(result["cases"]) == 2 * 3
    for row in result["cases"]:
        assert (row["protected"], row["confidence"], row["iou"]) == (False, 0.0, 0.0)
        assert row["psnr_out"] > 5


def test_the_dial_turns_visibility(shipped, raccoon, monkeypatch):
    chosen = (STRENGTHS[0], STRENGTHS[-1])
    monkeypatch.setitem(measure_arms.__globals__["ARM_SETS"], "strength", chosen)
    images = [("raccoon", np.ascontiguousarray(raccoon[:300, :400]))]
    strong, weak = measure_arms(shipped, images, "strength", progress=False)["arms"]
    assert strong["psnr_db"] == 37.0 and weak["psnr_db"] == 44.0
    assert weak["protected"]["psnr"]["mean"] - strong["protected"]["psnr"]["mean"] > 5
    assert weak["protected"]["ssim"]["mean"] > strong["protected"]["ssim"]["mean"]


def test_steps_of_refining_are_arms_with_their_time(shipped, raccoon, monkeypatch):
    chosen = (REFINING[0], Arm("2steps", "2 steps", refine=2))
    monkeypatch.setitem(measure_arms.__globals__["ARM_SETS"], "refining", chosen)
    images = [("raccoon", np.ascontiguousarray(raccoon[:300, :400]))]
    result = measure_arms(shipped, images, "refining", progress=False)
    plain, refined = result["arms"]
    assert (plain["refine"], refined["refine"]) == (0, 2)
    assert refined["protect_s"] > plain["protect_s"] > 0
    assert refined["by_condition"] != plain["by_condition"]
    header, _, row, _, *rest = arms_table(result, False).splitlines()
    assert header.startswith("|  | seconds an image | protected PSNR, dB |")
    assert row.startswith(f"| as the network makes it | {plain['protect_s']:.1f} | ")
    assert row.count("|") == header.count("|")


def test_verdicts_are_on_two_crops_far_apart_of_each_image(session, monkeypatch):
    """Those of the seed, each protected and not, at the strength of the weights."""
    clean = EvaluationSet("clean", (CONDITIONS["clean"],), (0.84,))
    monkeypatch.setattr("clr_infer.evaluate.detection.FULL", clean)
    seen, locate = [], session.locate

    def noted(image, turned):
        x0, y0, _ = image[0, 0].tolist()
        seen.append((x0, y0, x0 + image.shape[1], y0 + image.shape[0]))
        return locate(image, turned=turned)

    monkeypatch.setattr(session, "locate", noted)
    images = [(str(index), session.picture("found")) for index in range(2)]
    measure_detection(session, images, seed=5, progress=False)
    sides = ((0, MAIN_KEPT[0]), (0, MAIN_KEPT[3]), (1, MAIN_KEPT[1]), (1, MAIN_KEPT[4]))
    crops = [draw_crop(5, index, kept, 200, 180).box_px for index, kept in sides]
    assert seen == [box for box in crops for _ in range(2)]
    assert session.strength == session.weights.default_psnr_db


def test_a_refusal_is_a_miss_and_a_false_alarm(session, monkeypatch):
    clean = EvaluationSet("clean", (CONDITIONS["clean"],), (0.84,))
    monkeypatch.setattr("clr_infer.evaluate.detection.FULL", clean)
    result = measure_detection(session, [("a", session.picture("refused"))], progress=False)
    assert result["confidences"]["clean"] == {"protected": [0.0] * 2, "unprotected": [1.0] * 2}


def test_a_threshold_is_fixed_on_known_confidences(session, monkeypatch):
    clean = EvaluationSet("clean", (CONDITIONS["clean"],), (0.84,))
    monkeypatch.setattr("clr_infer.evaluate.detection.FULL", clean)
    images = [(f"image{i}", session.picture("found")) for i in range(2)]
    result = measure_detection(session, [*images, ("c", session.picture("missed"))], progress=False)
    one = result["threshold"]
    assert one["value"] == 0.250001 and one["fpr"] == 0.0
    assert one["cases"] == 3 * 2 and one["tpr"] == pytest.approx(2 / 3, abs=1e-6)
    assert result["confidences"]["clean"]["unprotected"] == [0.25] * 6
    assert len(session.protected) == 3
    assert "0.250001" in threshold_sentence(result)
