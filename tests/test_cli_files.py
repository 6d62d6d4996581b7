"""What commands read and what they write, by one that needs no networks where it can be."""

import io
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageCms

import clr_infer.session
from clr_infer.cli import main
from clr_infer.cli.inputs import load_input
from clr_infer.errors import ImageError
from clr_infer.samples import SAMPLE
from clr_infer.session import Session

COLOURS = {"red": (255, 0, 0), "blue": (0, 0, 255)}


def _attack(*words, steps="mirror"):
    return main(["attack", *map(str, words), "--steps", steps])


def _pixels(path):
    return np.asarray(Image.open(path))


@pytest.fixture
def picture(tmp_path):
    """A file with everything that one can carry beside its colours."""
    exif = Image.Exif()
    exif[0x010E] = "a raccoon"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.open(SAMPLE).resize((80, 64)).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save(tmp_path / "picture.png", exif=exif, icc_profile=profile)
    return tmp_path / "picture.png"


@pytest.fixture
def animation(tmp_path):
    frames = [Image.new("RGB", (64, 64), colour) for colour in COLOURS]
    frames[0].save(tmp_path / "two.gif", save_all=True, append_images=frames[1:])
    return tmp_path / "two.gif"


def _standard_input(monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))


def test_what_a_file_carries_is_kept_or_dropped(picture, tmp_path):
    for name, options in (("kept", []), ("bare", ["--strip"])):
        assert _attack(picture, "-o", tmp_path / f"{name}.png", *options) == 0
    kept, bare = (Image.open(tmp_path / f"{name}.png") for name in ("kept", "bare"))
    assert kept.getexif()[0x010E] == "a raccoon" and kept.info["icc_profile"]
    assert not bare.getexif() and "icc_profile" not in bare.info
    assert kept.mode == bare.mode == "RGB"  # the alpha would not fit what was cropped


def test_what_a_format_does_not_hold_is_said(picture, tmp_path, capsys):
    assert main(["protect", str(picture), "-o", str(tmp_path / "out.jpg")]) == 0
    assert "warning: jpeg holds no alpha" in capsys.readouterr().err


def test_what_is_wrong_with_a_file_that_can_be_read_is_said(tmp_path, capsys):
    Image.new("RGB", (64, 64)).save(tmp_path / "in.png", icc_profile=b"no profile")
    assert _attack(tmp_path / "in.png", "-o", tmp_path / "out.png") == 0
    assert "in.png: warning: " in capsys.readouterr().err


def test_the_quality_and_the_seed_are_those_that_were_asked_for(picture, tmp_path):
    for quality in ("30", "95"):
        assert _attack(picture, "-o", tmp_path / f"{quality}.jpg", "--quality", quality) == 0
    small, large = ((tmp_path / f"{name}.jpg").stat().st_size for name in (30, 95))
    assert small < large / 2
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        words = (picture, "-o", tmp_path / f"{name}.png", "--seed", seed)
        assert _attack(*words, steps="noise=0.1") == 0
    first, same, other = (_pixels(tmp_path / f"{name}.png") for name in "abc")
    assert (first == same).all() and (first != other).any()


def test_images_may_be_too_large(picture, tmp_path, capsys):
    words = (picture, "-o", tmp_path / "out.png", "--max-pixels")
    assert _attack(*words, 80 * 64 - 1) == 1 and "the limit is" in capsys.readouterr().err
    assert _attack(*words, 80 * 64) == 0


def test_a_frame_of_an_animation_is_chosen(animation, tmp_path, monkeypatch):
    out = tmp_path / "out.png"
    assert _attack(animation, "-o", out) == 1
    for frame, colour in enumerate(COLOURS.values()):
        _standard_input(monkeypatch, animation.read_bytes())
        for word in (animation, "-"):
            assert _attack(word, "-o", out, "--frame", frame, "--force") == 0
            assert (_pixels(out) == colour).all()


def test_standard_input_has_a_name_where_it_needs_one(picture, tmp_path, monkeypatch, capsys):
    _standard_input(monkeypatch, picture.read_bytes())
    assert _attack("-", "-o", f"{tmp_path}/out/") == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["stdin.png"]
    monkeypatch.setattr(sys, "stdin", None)
    assert _attack("-", "-o", tmp_path / "closed.png") == 1
    assert "standard input is closed" in capsys.readouterr().err


def test_images_are_known_by_their_suffix_in_any_case(picture, tmp_path, capsys):
    folder = tmp_path / "in"
    for path in (folder / "ONE.PNG", folder / "deep" / "two.png"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture.read_bytes())
    (folder / "folder.png").mkdir()
    for out, word in (("flat", folder), ("deep", f"{folder}/**/*.[pP][nN][gG]")):
        assert _attack(word, "-o", f"{tmp_path}/{out}/") == 0
    assert [path.name for path in (tmp_path / "flat").iterdir()] == ["ONE.png"]
    assert {path.name for path in (tmp_path / "deep").iterdir()} == {"ONE.png", "two.png"}
    (tmp_path / "empty").mkdir()
    assert _attack(tmp_path / "empty", "-o", tmp_path / "out") == 2
    assert "no images" in capsys.readouterr().err


def test_an_image_that_memory_does_not_hold_fails_alone(picture, tmp_path, monkeypatch, capsys):
    def load(word, *options):
        if "large" in word:
            raise MemoryError
        return load_input(word, *options)

    monkeypatch.setattr("clr_infer.cli.images.load_input", load)
    assert _attack(tmp_path / "large.png", picture, "-o", f"{tmp_path}/out/", "--json") == 1
    said = capsys.readouterr()
    assert "large.png: not enough memory" in said.err and said.out.count('"ok": true') == 1


@pytest.mark.parametrize("command", ["locate", "recover"])
def test_what_is_asked_for_reaches_the_session(animation, tmp_path, monkeypatch, command):
    seen = []

    def noted(session, image, *, turned):
        seen.append((tuple(image[0, 0]), turned))
        raise ImageError("enough")

    monkeypatch.setattr(Session, command, noted)
    out = ["-o", str(tmp_path / "out.png")] if command == "recover" else []
    for words in (["--frame", "0"], ["--frame", "1", "--turned"]):
        assert main([command, str(animation), *out, *words]) == 1
    assert seen == [(COLOURS["red"], False), (COLOURS["blue"], True)]


def test_a_session_is_opened_as_it_was_asked_for(picture, tmp_path, monkeypatch):
    opened = []
    load = clr_infer.session.load

    def noted(runtime, **options):
        opened.append((runtime, options["weights"], options["threads"]))
        return load("onnxruntime", threads=1)

    monkeypatch.setattr(clr_infer.session, "load", noted)
    words = ["locate", str(picture), "--runtime", "openvino", "--threads", "3"]
    assert main([*words, "--weights", str(tmp_path)]) == 0
    assert opened == [("openvino", tmp_path, 3)]


def test_a_recovered_image_on_standard_output_comes_alone(
    protected, tmp_path, monkeypatch, capsysbinary
):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(protected[:, 40:]).save("in.png")
    assert main(["recover", "in.png", "-o", "-"]) == 0
    recovered = Image.open(io.BytesIO(capsysbinary.readouterr().out))
    assert recovered.format == "PNG" and recovered.size == protected.shape[1::-1]
    assert [path.name for path in tmp_path.iterdir()] == ["in.png"]


def test_an_interruption_has_its_own_exit_code(tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("clr_infer.cli.images.expand_inputs", interrupted)
    assert _attack(SAMPLE, "-o", tmp_path / "out.png") == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_reader_that_is_gone_ends_a_command_quietly(picture):
    command = [sys.executable, "-m", "clr_infer.cli", "attack", str(picture), "-o", "-"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*command, "--steps", "mirror"], **pipes) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() != 0
