"""What the network guesses without protection, rehearsed in seconds."""

import importlib.util
import json
import sys
from pathlib import Path

from PIL import Image

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "outpainting.py"


def test_it_trains_without_a_residual_and_scores_the_crops_of_a_report(
    tmp_path, monkeypatch, raccoon, coffee
):
    spec = importlib.util.spec_from_file_location("outpainting", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for folder, image in (("train", coffee), ("kodak", raccoon)):
        (tmp_path / folder).mkdir()
        Image.fromarray(image).resize((240, 160)).save(tmp_path / folder / "one.png")
    case = {"image": "one.png", "index": 0, "kept": 0.71, "box": [0.1, 0.1, 0.8, 0.85]}
    cases = [case | {"condition": name} for name in ("clean", "jpeg80", "jpeg60", "jpeg70")]
    cases.append(case | {"condition": "clean", "kept": 0.55})  # not in the main range
    (tmp_path / "report.json").write_text(json.dumps({"cases": cases}))
    names = {"images": "train", "kodak": "kodak", "report": "report.json", "run": "run"}
    words = [w for key, name in names.items() for w in (f"--{key}", str(tmp_path / name))]
    out = tmp_path / "out.json"
    words += ["--size", "32", "--minutes", "0.02", "-o", str(out)]
    monkeypatch.setattr(sys, "argv", ["outpainting.py", *words])
    module.main()
    result = json.loads(out.read_text())
    assert set(result["cropped_out_psnr_db"]) == {"clean", "jpeg80", "jpeg60"}
    assert len(result["cases"]) == 3 and result["images"] == ["one.png"]
    assert all(5 < value < 40 for value in result["cropped_out_psnr_db"].values())
    assert result["training"]["steps"] >= 1
