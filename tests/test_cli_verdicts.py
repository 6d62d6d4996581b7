"""What ``protect``, ``locate`` and ``recover`` say of results, and ask a session for."""

import numpy as np
import pytest
from PIL import Image

from clr_infer.cli import main
from clr_infer.geometry import Box, Turn
from clr_infer.results import Located, Protected, Recovered

PIXELS = np.full((40, 50, 3), 90, np.uint8)
BOX_PX = (0, 20, 50, 60)


class Session:
    """Gives what it holds, and keeps the options that it is asked with."""

    def __init__(self, result):
        self.result, self.options = result, {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def _answer(self, image, **options):
        self.options = options
        return self.result

    protect = locate = recover = _answer


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs a command on a picture with a session that gives a result; returns the session."""
    Image.fromarray(PIXELS).save(tmp_path / "in.png")

    def ran(result, command, *words):
        session = Session(result)
        monkeypatch.setattr("clr_infer.cli.images.open_session", lambda *_: session)
        out = [] if command == "locate" else ["-o", str(tmp_path / "out.png"), "--force"]
        assert main([command, str(tmp_path / "in.png"), *out, *words]) == 0
        return session

    return ran


def _located(**values):
    mask = np.zeros((80, 50), np.uint8)
    mask[20:60] = 255
    facts = {"box_px": BOX_PX, "canvas_px": (50, 80), "picture_px": (0, 0, 50, 40), "mask": mask}
    return Located(True, 0.9, Box(0.0, 0.25, 1.0, 0.75), **{**facts, **values})


def test_protect_asks_for_what_the_options_say(run, capsys):
    session = run(Protected(PIXELS, 41.26), "protect", "--strength", "38", "--refine", "3")
    session.options.pop("progress")(1)
    assert session.options == {"psnr_db": 38.0, "refine": 3, "copy": False}
    assert capsys.readouterr().err.endswith("out.png: protected at 41.26 dB\n")
    session = run(Protected(PIXELS, 41.26, copy_psnr_db=29.04), "protect", "--copy")
    assert session.options == {"psnr_db": None, "refine": 0, "copy": True}
    assert capsys.readouterr().err.endswith("protected at 41.26 dB, with a copy of 29.0 dB\n")


def test_a_server_refines_without_progress(run):
    words = ("--refine", "3", "--url", "grpc://x:1")
    assert "progress" not in run(Protected(PIXELS, 41.0), "protect", *words).options


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        (Turn(), "from (0, 0) are crop box"),
        (Turn(True), "from (0, 0), mirrored, are crop box"),
        (Turn(False, 1.5), "from (0, 0), rotated by 1.5 degrees, are crop box"),
        (Turn(True, 90.0), "from (0, 0), mirrored and rotated by 90 degrees, are crop box"),
    ],
)
def test_how_a_fragment_lay_is_said(run, capsys, turn, words):
    run(_located(turn=turn), "locate")
    said = capsys.readouterr().out
    assert words in said and "altered" not in said and "copy" not in said
    assert "[0.0000, 0.2500, 1.0000, 0.7500] of an original of 50x80; 50.0 % of it" in said


def test_what_was_altered_is_said_and_drawn(run, capsys, tmp_path):
    located = _located(by_copy=True, altered_px=((10, 30, 20, 50),))
    located.mask[30:50, 10:20] = 0
    run(located, "locate")
    said = capsys.readouterr().out
    assert said.endswith(", as a copy in it says; 10.0 % of what was received was altered\n")
    whole = np.full((80, 50, 3), 90, np.uint8)
    drawn = []
    for one in (located, _located(by_copy=True)):
        run(Recovered(whole, one, cell_uncertainty=np.ones((8, 8), np.float32)), "recover")
        drawn.append(np.asarray(Image.open(tmp_path / "out.overlay.png")))
    assert (drawn[0] != drawn[1]).any()


def test_what_is_not_found_may_lie_turned(run, capsys):
    nothing = Located(False, 0.25, None, None, None, None)
    assert run(nothing, "locate").options == {"turned": False}
    assert capsys.readouterr().out.endswith(
        "0.250); --turned also looks for mirrored and turned pictures\n"
    )
    assert run(nothing, "locate", "--turned").options == {"turned": True}
    assert capsys.readouterr().out.endswith("not protected (confidence of protection 0.250)\n")
