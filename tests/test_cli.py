"""The commands as a person runs them: real files, exit codes, JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clr_infer.cli import main
from clr_infer.samples import SAMPLE
from clr_infer.settings import KEY_VARIABLE

COFFEE = Path(__file__).parent / "images" / "coffee.jpg"


@pytest.fixture(scope="module")
def protected_file(tmp_path_factory, protected) -> Path:
    path = tmp_path_factory.mktemp("protected") / "protected.png"
    Image.fromarray(protected).save(path)
    return path


@pytest.fixture
def fragment(tmp_path, protected) -> Path:
    height, width = protected.shape[:2]
    path = tmp_path / "fragment.jpg"
    part = protected[height // 10 : height * 9 // 10, width // 10 :]
    Image.fromarray(part).save(path, quality=85)
    return path


def _json_lines(capsys) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_protect_writes_png_and_keeps_exif(tmp_path, capsys):
    photo, out = tmp_path / "photo.jpg", tmp_path / "out.png"
    exif = Image.Exif()
    exif[0x010E] = "a raccoon"
    Image.open(SAMPLE).resize((400, 300)).save(photo, exif=exif)
    assert main(["protect", str(photo), "-o", str(out), "--json"]) == 0
    (record,) = _json_lines(capsys)
    assert record["ok"] and record["outputs"] == {"protected": str(out)}
    assert 37 < record["psnr_db"] < 43
    with Image.open(out) as written:
        assert written.format == "PNG" and written.size == (400, 300)
        assert written.getexif()[0x010E] == "a raccoon"
    assert main(["protect", str(photo), "-o", str(tmp_path / "bare.png"), "--strip"]) == 0
    assert not Image.open(tmp_path / "bare.png").getexif()


def test_alpha_is_restored(tmp_path):
    picture = Image.open(SAMPLE).resize((320, 240)).convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize((320, 240)))
    picture.save(tmp_path / "in.png")
    assert main(["protect", str(tmp_path / "in.png"), "-o", str(tmp_path / "out.png")]) == 0
    out = Image.open(tmp_path / "out.png")
    assert out.mode == "RGBA"
    assert np.array_equal(np.asarray(out)[..., 3], np.asarray(picture)[..., 3])


def test_nothing_is_overwritten_without_force(tmp_path, capsys):
    out = tmp_path / "out.png"
    out.write_bytes(b"precious")
    assert main(["protect", str(SAMPLE), "-o", str(out)]) == 1
    assert out.read_bytes() == b"precious" and "force" in capsys.readouterr().err
    assert main(["protect", str(SAMPLE), "-o", str(out), "--force"]) == 0
    assert Image.open(out).size == Image.open(SAMPLE).size
    assert [p.name for p in tmp_path.iterdir()] == ["out.png"]


def test_locate_prints_the_promised_json(fragment, capsys):
    assert main(["locate", str(fragment), "--json"]) == 0
    (record,) = _json_lines(capsys)
    assert set(record) == {
        "input", "ok", "protected", "confidence", "crop_box", "canvas_px", "picture_px", "turn",
        "located_by_copy", "altered_px", "outputs", "timings_ms",
    }  # fmt: skip
    assert record["protected"] is True and record["confidence"] > 0.9
    np.testing.assert_allclose(record["crop_box"], [0.1, 0.1, 1.0, 0.9], atol=0.01)


def test_recover_writes_an_image_and_what_explains_it(fragment, tmp_path, capsys):
    out = tmp_path / "results" / "whole.png"
    assert main(["recover", str(fragment), "-o", str(out), "--json"]) == 0
    (record,) = _json_lines(capsys)
    assert set(record["outputs"]) == {"recovered", "mask", "overlay", "uncertainty"}
    assert 12 < record["expected_psnr_db"] < 35
    size = tuple(record["canvas_px"])
    for path in record["outputs"].values():
        assert Image.open(path).size == size
    mask = np.asarray(Image.open(record["outputs"]["mask"]).convert("L"))
    assert set(np.unique(mask)) == {0, 255}


def test_a_copy_is_written_and_shown(tmp_path, capsys):
    copied, cut, whole = (str(tmp_path / f"{name}.png") for name in ("copied", "cut", "whole"))
    assert main(["protect", str(COFFEE), "-o", copied, "--copy", "--json"]) == 0
    assert main(["attack", copied, "-o", cut, "--steps", "crop=0.1,0.2,0.8,0.9", "--json"]) == 0
    assert main(["recover", cut, "-o", whole, "--json"]) == 0
    protected, _, recovered = _json_lines(capsys)
    assert protected["copy_psnr_db"] > 27
    assert recovered["recovered_from_copy"] and recovered["located_by_copy"]
    assert abs(recovered["expected_psnr_db"] - protected["copy_psnr_db"]) < 0.3
    assert recovered["canvas_px"] == list(Image.open(COFFEE).size) == list(Image.open(whole).size)
    assert main(["recover", cut, "-o", whole, "--force"]) == 0
    said = capsys.readouterr().err
    assert "as a copy in it says" in said and "altered" not in said
    steps = ["crop=0.1,0.2,0.8,0.9", "occlude=0.1"]
    assert main(["attack", copied, "-o", cut, "--steps", " ".join(steps), "--force"]) == 0
    assert main(["locate", cut]) == 0
    assert "% of what was received was altered" in capsys.readouterr().out


def test_a_copy_with_a_key_is_read_with_that_key_alone(tmp_path, capsys, monkeypatch):
    copied = str(tmp_path / "copied.png")
    monkeypatch.setenv(KEY_VARIABLE, "a secret")
    assert main(["protect", str(COFFEE), "-o", copied, "--copy"]) == 0
    for key, by_copy in ((" a secret\n", True), ("another", False), ("", False)):
        monkeypatch.setenv(KEY_VARIABLE, key)
        capsys.readouterr()
        assert main(["locate", copied, "--json"]) == 0
        (record,) = _json_lines(capsys)
        assert record["protected"] and record["located_by_copy"] is by_copy


def test_unprotected_input_is_no_error(tmp_path, capsys):
    assert main(["recover", str(SAMPLE), "-o", str(tmp_path / "out"), "--json"]) == 0
    (record,) = _json_lines(capsys)
    assert record["protected"] is False and record["crop_box"] is None
    assert record["outputs"] == {} and record["expected_psnr_db"] is None
    assert not (tmp_path / "out").exists()


def test_one_bad_file_never_stops_a_batch(tmp_path, fragment, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a_text.jpg").write_text("no picture")
    (folder / "b_fragment.jpg").write_bytes(fragment.read_bytes())
    (folder / "c_cut.jpg").write_bytes(fragment.read_bytes()[:900])
    code = main(["locate", str(folder), str(tmp_path / "missing.png"), "--json"])
    captured = capsys.readouterr()
    records = [json.loads(line) for line in captured.out.splitlines()]
    assert code == 1
    assert [r["ok"] for r in records] == [False, True, False, False]
    assert all(r["error"]["type"] == "ImageError" for r in records if not r["ok"])
    assert "a_text.jpg" in captured.err


def test_folders_globs_and_recursion(tmp_path, fragment, capsys):
    deep = tmp_path / "x" / "y"
    deep.mkdir(parents=True)
    for path in (tmp_path / "x" / "one.jpg", deep / "two.jpg"):
        path.write_bytes(fragment.read_bytes())
    (tmp_path / "x" / "notes.txt").write_text("not an image")
    for words, count in (
        ([str(tmp_path / "x")], 1),
        ([str(tmp_path / "x"), "--recursive"], 2),
        ([str(tmp_path / "x" / "*" / "*.jpg")], 1),
        ([str(tmp_path / "x" / "one.jpg")] * 2, 1),
    ):
        assert main(["locate", *words, "--json"]) == 0
        assert len(_json_lines(capsys)) == count


def test_two_results_of_one_name_are_refused_before_any_work(tmp_path, capsys):
    for name in ("a/x.jpg", "b/x.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(SAMPLE.read_bytes())
    words = [str(tmp_path / name) for name in ("a/x.jpg", "b/x.png")]
    out = tmp_path / "out"
    assert main(["attack", *words, "-o", str(out), "--force", "--steps", "jpeg=80"]) == 2
    assert "x.jpg" in (said := capsys.readouterr().err) and "x.png" in said
    assert not out.exists()


def test_strange_names(tmp_path, fragment, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["new\nline.jpg", "--dash.jpg", os.fsdecode(b"by\xffte.jpg"), "[x].jpg"]
    for name in names:
        Path(name).write_bytes(fragment.read_bytes())
    assert main(["locate", "--json", "--", *names]) == 0
    assert [r["input"] for r in _json_lines(capsys)] == names
    assert main(["locate", "--", *names]) == 0


def test_standard_input_and_output(protected_file, tmp_path):
    command = [sys.executable, "-m", "clr_infer.cli"]
    attack = [*command, "attack", "-", "-o", "-", "--steps", "crop=0.1,0.1,0.9,1 jpeg=80"]
    cut = subprocess.run(attack, input=protected_file.read_bytes(), capture_output=True, check=True)
    assert cut.stdout[:4] == b"\x89PNG"
    locate = [*command, "locate", "-", "--json"]
    found = subprocess.run(locate, input=cut.stdout, capture_output=True, check=True)
    record = json.loads(found.stdout)
    assert record["input"] == "-" and record["protected"]


def test_attack_does_what_its_words_say(tmp_path, capsys):
    out = tmp_path / "small.jpg"
    steps = "crop=0,0,0.5,0.5 resize=0.5"
    assert main(["attack", str(SAMPLE), "-o", str(out), "--steps", steps, "--quality", "90"]) == 0
    width, height = Image.open(SAMPLE).size
    assert Image.open(out).size == (width // 4, height // 4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["protect", str(SAMPLE), "-o", "x.png", "--strength", "10"], "strength"),
        (["attack", str(SAMPLE), "-o", "x.png", "--steps", "blur=1"], "blur"),
        (["protect", str(SAMPLE), "-o", "x.gif"], "gif"),
        (["protect", str(SAMPLE), "-o", "x.jpg", "--quality", "0"], "quality"),
    ],
)
def test_bad_values_say_what_is_wrong(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) in (1, 2)
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_missing_weights_exit_with_3(tmp_path, capsys):
    assert main(["locate", str(SAMPLE), "--weights", str(tmp_path)]) == 3
    assert "manifest.json" in capsys.readouterr().err


def test_folders_may_have_dots(tmp_path):
    (tmp_path / "there.v2").mkdir()
    for name in (f"{tmp_path}/there.v2", f"{tmp_path}/new.v3/"):
        assert main(["attack", str(SAMPLE), "-o", name, "--steps", "crop=0,0,0.1,0.1"]) == 0
        assert (Path(name) / f"{SAMPLE.stem}.png").exists()


def test_nothing_is_written_where_a_part_of_it_could_not_be(fragment, tmp_path, capsys):
    (tmp_path / "r.mask.png").write_bytes(b"precious")
    assert main(["recover", str(fragment), "-o", str(tmp_path / "r.png")]) == 1
    assert "r.mask.png" in capsys.readouterr().err
    assert not (tmp_path / "r.png").exists()
    assert (tmp_path / "r.mask.png").read_bytes() == b"precious"


def test_recovering_what_recover_wrote_overwrites_nothing(fragment, tmp_path, capsys):
    """Overlay and uncertainty show the original, and are protected as it is."""
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["recover", str(fragment), "-o", f"{first}/"]) == 0
    assert main(["recover", str(first), "-o", f"{second}/", "--force"]) == 2
    assert "would both be written" in capsys.readouterr().err and not second.exists()
    assert main(["recover", str(first), "-o", f"{second}/", "--no-extras"]) == 0
    names = {path.name for path in first.iterdir()}
    assert {path.name for path in second.iterdir()} <= names and len(names) == 4


def test_a_name_that_cannot_be_looked_at_fails_alone(tmp_path, capsys):
    long = "a" * 300 + ".png"
    assert main(["locate", long, str(SAMPLE)]) == 1
    said = capsys.readouterr()
    assert "File name too long" in said.err and f"{SAMPLE}: not protected" in said.out
    assert main(["attack", str(SAMPLE), "-o", long, "--steps", "noise=0.01"]) == 1


def test_a_folder_that_cannot_be_read_fails_alone(tmp_path, capsys, monkeypatch):
    from pathlib import Path as P

    (tmp_path / "closed").mkdir()
    listed = P.iterdir

    def iterdir(path):
        if path.name == "closed":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(P, "iterdir", iterdir)  # root may read anything
    assert main(["locate", str(tmp_path / "closed"), str(SAMPLE)]) == 1
    said = capsys.readouterr()
    assert "closed" in said.err and f"{SAMPLE}: not protected" in said.out


def test_standard_output_that_is_full_is_told(capfd):
    code = "import sys; from clr_infer.cli import main; "
    code += f"sys.exit(main(['locate', {str(SAMPLE)!r}, '--json']))"
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE)
    assert b"OutputError: standard output cannot be written" in done.stderr, done.stderr


def test_a_picture_too_large_for_a_format_fails_alone(tmp_path, capsys):
    for width in (2150, 400):
        Image.new("RGB", (width, 220)).save(tmp_path / f"{width}.png")
    words = ["attack", str(tmp_path), "-o", f"{tmp_path}/out/"]
    assert main([*words, "--steps", "resize=8 webp=80"]) == 1
    assert "17200x1760 pixels cannot be saved as WEBP" in capsys.readouterr().err
    assert [p.stem for p in (tmp_path / "out").iterdir()] == ["400"]


def test_commands_close_what_they_open(fragment, tmp_path, monkeypatch):
    from clr_infer.session import Session

    closed = []
    monkeypatch.setattr(Session, "close", lambda session: closed.append(session))
    assert main(["locate", str(fragment)]) == 0
    assert main(["recover", str(fragment), "-o", str(tmp_path / "r.png")]) == 0
    assert main(["protect", str(SAMPLE), "-o", str(tmp_path / "p.png"), "--strength", "40"]) == 0
    assert len(closed) == 3


def test_a_demo_of_what_is_not_found_says_so(tmp_path, capsys):
    assert main(["demo", "-o", str(tmp_path), "--steps", "rotate=90"]) == 0
    assert "not protected" in capsys.readouterr().out
    assert {p.name for p in tmp_path.iterdir()} >= {"sheet.png", "received.png", "numbers.json"}


def test_lossy_protection_warns(tmp_path, capsys):
    assert main(["protect", str(SAMPLE), "-o", str(tmp_path / "x.jpg")]) == 0
    assert "lossy" in capsys.readouterr().err


def test_env_prints_versions(capsys):
    assert main(["env", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["packages"]["onnxruntime"] and facts["weights"]["frame_px"] > 0
    assert main(["env"]) == 0
    assert "libjpeg_turbo" in capsys.readouterr().out


@pytest.mark.parametrize("steps", ["mirror crop=0,0,0.6,0.9", "crop=0,0,1,0.9 crop=0,0,1,0.9"])
def test_a_demo_takes_no_crop_of_another_frame(tmp_path, capsys, steps):
    assert main(["demo", "-o", str(tmp_path), "--steps", steps]) == 2
    assert "one crop" in capsys.readouterr().err


def test_a_demo_replaces_nothing_but_a_demo(tmp_path, capsys):
    (tmp_path / "protected.png").write_bytes(b"precious")
    words = ["demo", "-o", str(tmp_path), "--steps", "rotate=90"]
    assert main(words) == 1 and "protected.png" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["protected.png"]
    assert (tmp_path / "protected.png").read_bytes() == b"precious"
    (tmp_path / "protected.png").unlink()
    assert main(words) == main(words) == 0


def test_demo_shows_the_whole_job(tmp_path, capsys):
    out = tmp_path / "demo"
    assert main(["demo", "-o", str(out), "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["iou"] > 0.97
    psnr = numbers["cropped_out_psnr_db"]
    assert psnr["recovered"] > max(v for k, v in psnr.items() if k != "recovered")
    assert numbers["expected_psnr_db"] == pytest.approx(psnr["recovered"], abs=4.0)
    names = {p.name for p in out.iterdir()}
    assert {"sheet.png", "original.png", "protected.png", "recovered.png", "numbers.json"} <= names
    assert Image.open(out / "sheet.png").width > 1000
