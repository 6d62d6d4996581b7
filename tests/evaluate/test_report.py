import ast
import csv
import json
from importlib.metadata import version
from pathlib import Path

import pytest
from PIL import Image

from clr_infer.bench.facts import commit
from clr_infer.errors import OutputError
from clr_infer.evaluate import CONDITIONS, check_folder, evaluate, markdown, write_report
from clr_infer.evaluate.aggregate import aggregate
from clr_infer.evaluate.findings import copies_table
from clr_infer.evaluate.report import json_text
from clr_infer.evaluate.tables import constants_table, detection_table, recovery_table
from clr_infer.evaluate.workers import Opener

ROOT = Path(__file__).parents[2]
FILES = ["report.json", "cases.csv", "report.md", "kept_side.png", "quality_factor.png"]


@pytest.fixture
def single(measured):
    """A report of one condition at one kept side, for which there is nothing to plot."""
    clean = [row for row in measured.cases if row["condition"] == "clean" and row["kept"] == 0.84]
    facts = measured.facts | {"conditions": measured.facts["conditions"][:1]}
    return type(measured)(facts, measured.images, measured.crops, clean)


def tables(text):
    """Each table of a page: a list of rows of cells."""
    blocks = [block for block in text.split("\n\n") if block.startswith("|")]
    return [[row.strip("| ").split(" | ") for row in block.splitlines()] for block in blocks]


def test_files(measured, tmp_path):
    written = write_report(measured, tmp_path / "new" / "report")
    assert [file.name for file in written] == FILES
    assert sorted(file.name for file in (tmp_path / "new" / "report").iterdir()) == sorted(FILES)
    with Image.open(written[3]) as plot:
        assert plot.size[0] > 400
    stored = json.loads(written[0].read_text("utf-8"))
    assert stored == json.loads(json.dumps(measured.as_dict()))
    assert stored["aggregates"] == json.loads(
        json.dumps(aggregate(stored["images"], stored["cases"]))
    )
    assert markdown(stored, FILES[3:]) == written[2].read_text("utf-8")
    rows = list(csv.DictReader(written[1].open(encoding="utf-8")))
    assert len(rows) == len(measured.cases) == 4 * (4 + 1 + 1)
    assert list(rows[0]) == list(measured.cases[0])
    assert [float(row["iou"]) for row in rows] == [row["iou"] for row in measured.cases]


def test_facts(measured):
    facts = measured.as_dict()["facts"]
    assert facts["weights"] == {"format": 1, "steps": 7, "files": {"a.onnx": "00ff"}}
    assert facts["seed"] == 0 and facts["kept"] == [1.0, 0.84, 0.71, 0.55]
    assert [one["after_crop"] for one in facts["conditions"]] == [
        "",
        "jpeg=90@4:4:4",
        "jpeg=95@4:4:4",
    ]
    assert facts["versions"]["numpy"] and facts["runtime"] == "fake"


def test_facts_tie_a_report_to_code_and_libraries(session):
    images = [("a", session.picture("found"))]
    options = {"conditions": [CONDITIONS["clean"]], "kept": [0.84], "progress": False}
    facts = evaluate(session, images, opener=Opener(threads=3), **options).facts
    assert facts["commit"] == commit() and facts["threads"] == 3 and facts["workers"] == 1
    assert {"torch", "openvino", "onnxruntime"} <= set(facts["versions"])
    assert facts["versions"]["torch"] == version("torch")


def test_ranges_of_the_kept_side_are_kept_apart(measured):
    found = measured.as_dict()["aggregates"]["by_condition"]["clean"]
    counts = {which: summary["cases"] for which, summary in found.items()}
    assert counts == {"main": 8, "below": 4, "control": 4, "paired": 4}
    assert found["control"]["gain"]["psnr_out"] is None
    assert found["control"]["constants"]["whole_frame_iou"] == 1.0
    jpeg = measured.as_dict()["aggregates"]["by_condition"]["jpeg90-444"]
    assert jpeg["below"] is None and jpeg["control"] is None and jpeg["main"] == jpeg["paired"]


def test_markdown_of_a_tiny_report(measured):
    text = markdown(measured.as_dict())
    found = tables(text)
    assert len(found) == 9
    for table in found:
        assert len({len(row) for row in table}) == 1
    protected, headline = found[:2]
    assert protected[2][:2] == ["mean", "52.90"]
    assert [row[0] for row in headline[2:]] == [
        "crop only",
        "crop only, kept below 0.6",
        "crop only, uncropped",
    ]
    assert headline[2][1:5] == ["8", "0.750", "0.000", "75.0 %"]
    assert headline[4][5:9] == ["–"] * 4
    assert [row[0] for row in found[3][2:]] == ["crop only", "JPEG 90, 4:4:4", "JPEG 95, 4:4:4"]
    assert "clr_infer" in text and "weights of 7 steps" in text and ".png" not in text


@pytest.mark.parametrize("chosen", ["targets", "limits", "copies"])
def test_conditions_with_kept_sides_of_their_own_have_rows(session, chosen):
    images = [("a", session.picture("found")), ("b", session.picture("missed"))]
    report = evaluate(session, images, chosen, kept=[0.84, 0.71], progress=False).as_dict()
    text = markdown(report)
    found = tables(text)
    conditions = report["facts"]["conditions"]
    own = [one["label"] for one in conditions if one["kept"]]
    detection, constants = found[6:8]
    for table in (found[1], found[2], detection, constants):
        labels = [row[0] for row in table]
        assert [label for label in labels if label in own] == own
        assert all(label.count("kept") < 2 for label in labels[1:])
    assert {one["label"] for one in conditions} <= {row[0] for row in detection}
    assert (copies_table(report) in text) == (chosen == "copies")


def test_cells_are_of_the_crops_that_their_table_names(measured):
    report = measured.as_dict()
    clean = report["aggregates"]["by_condition"]["clean"]
    one, blur = clean["paired"], f"blur{clean['paired']['blur_sigma_px']['psnr_out']}"
    (drawn,) = tables(recovery_table(report, "psnr", "PSNR", 4))
    means = [one["predicted"], one["true"], *(one["baselines"][b] for b in ("mean_colour", "edge"))]
    outside = [*(values["psnr_out"] for values in means), one["baselines"][blur]["psnr_out"]]
    best = [one["best_baseline"][measure]["value"] for measure in ("psnr_out", "psnr")]
    cells = [*outside, best[0], one["predicted"]["psnr"], one["true"]["psnr"], best[1]]
    assert drawn[2] == ["crop only", *(f"{value:.4f}" for value in cells)]
    assert clean["main"]["cases"] != one["cases"]
    assert tables(detection_table(report))[0][2][:2] == ["crop only", str(clean["main"]["cases"])]
    ranges = [row[0] for row in tables(constants_table(report))[0][1:] if "crop only" in row[0]]
    assert ranges == [f"crop only, {which}" for which in ("main", "below", "control")]


def test_nothing_says_twice_what_it_does():
    for path in (ROOT / "clr_infer" / "evaluate").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef):
                first, *others = map(ast.dump, node.body)
                assert ast.get_docstring(node) is None or first not in others, node.name


def test_nothing_is_replaced_without_force(single, tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    (tmp_path / "report.md").write_text("old")
    with pytest.raises(OutputError, match=r"report\.md"):
        check_folder(tmp_path)
    with pytest.raises(OutputError, match=r"report\.md"):
        write_report(single, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["note.txt", "report.md"]
    check_folder(tmp_path, force=True)
    write_report(single, tmp_path, force=True)
    assert (tmp_path / "report.md").read_text("utf-8").startswith("# Evaluation")
    assert (tmp_path / "note.txt").read_text() == "mine"


def test_plots_of_an_earlier_report_do_not_stay(single, tmp_path):
    (tmp_path / "kept_side.png").write_text("of an earlier report")
    assert [file.name for file in write_report(single, tmp_path, force=True)] == FILES[:3]
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(FILES[:3])


def test_a_failure_leaves_nothing_behind(measured, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("clr_infer.evaluate.report.draw_plots", fail)
    with pytest.raises(OutputError, match="disk full"):
        write_report(measured, tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="not a folder"):
        write_report(measured, tmp_path / "file")


@pytest.mark.parametrize("result", [{"cases": [{"psnr": float("nan")}]}, {"mean": float("inf")}])
def test_what_is_no_number_is_not_published(result):
    with pytest.raises(ValueError, match="JSON"):
        json_text(result)


def test_every_published_condition_has_a_label_that_fits_a_table():
    assert all("|" not in one.label and len(one.label) < 40 for one in CONDITIONS.values())
