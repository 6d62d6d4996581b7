"""What the commands say before any work: help, wrong usage, what is missing or in the way."""

import sys

import pytest

from clr_infer.cli import build_parser, main


@pytest.mark.parametrize(
    "words",
    [
        ["protect", "a.png", "b.png", "-o", "one.png"],
        ["protect", "a.png", "b.png", "-o", "-"],
        ["protect", "a.png", "-o", "-", "--json"],
        ["protect", "a.png", "-o", "x.png", "--quality", "50"],
        ["protect", "a.png", "-o", "x.png", "--format", "jpeg"],
        ["protect", "a.png", "-o", "x.jpg", "--copy"],
        ["protect", "a.png", "-o", "x.webp", "--quality", "90", "--copy"],
        ["locate", "a.png", "--runtime", "abacus"],
        ["locate", "a.png", "--max-pixels", "0"],
        ["locate", "a.png", "--frame", "-1"],
        ["locate", ""],
        ["protect", "a.png", "-o", ""],
        ["protect", "a.png", "-o", "x.png", "--strength", "nan"],
        ["protect", "a.png", "-o", "x.png", "--refine", "-1"],
        ["protect", "a.png", "-o", "x.gif"],
        ["attack", "a.png", "-o", "x.png", "--steps", ""],
        ["attack", "a.png", "-o", "x.png", "--steps", "jpeg=80.5"],
        ["attack", "a.png", "-o", "x.png", "--steps", "jpeg=80", "--seed", "-1"],
        ["evaluate", "a.png", "-o", "x", "--seed", "-1"],
        ["bench", "runtimes", "--batch", "0"],
        ["bench", "runtimes", "--rounds", "0"],
        ["attack", "a.png", "-o", "x.png", "--steps", "crop=nan,0,1,1"],
        ["serve", "--drain", "-1"],
        ["serve", "--drain", "inf"],
        ["serve", "--golden-interval", "nan"],
        ["serve", "--golden-interval", "-1"],
        ["serve", "--golden-timeout", "inf"],
        ["serve", "--golden-timeout", "0"],
        ["health", "--url", "grpc://127.0.0.1:9", "--timeout", "inf"],
        ["serve", "--max-pixels", "-1"],
        ["serve", "--max-pixels", "700000"],
        ["export", "repository", "--target", "python", "--engines", "x", "-o", "y"],
        ["serve", "--http-port", "99999"],
        ["serve", "--http-port", "8123", "--grpc-port", "8123"],
        ["export", "weights", "run", "--val", "x", "-o", "y", "--frame", "32"],
    ],
)
def test_wrong_usage_exits_with_2(words, capsys):
    assert main(words) == 2
    assert capsys.readouterr().err


@pytest.mark.parametrize("suite", ["kernels", "runtimes", "server"])
@pytest.mark.parametrize("option", ["--output", "--plot"])
def test_nothing_is_measured_that_could_not_be_written(suite, option, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["bench", suite, "--quick", option, str(tmp_path / "file" / "x")]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_unknown_options_exit_with_2(capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["locate", "a.png", "--sideways"])
    assert exit_info.value.code == 2


def test_serving_without_its_extra_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tritonclient.grpc", None)
    assert main(["serve"]) == 3
    assert "clr_infer[serve]" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["tritonclient.grpc", "fastapi", "uvicorn"])
def test_measuring_a_server_without_its_extra_says_what_to_install(capsys, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    assert main(["bench", "server", "--quick"]) == 3
    said = capsys.readouterr().err
    assert "clr_infer[bench]" in said and "starting" not in said


def test_every_command_has_help(capsys):
    parser = build_parser()
    commands = parser._subparsers._group_actions[0].choices
    assert set(commands) >= {
        "protect", "locate", "recover", "attack", "evaluate", "train", "export", "demo", "env",
    }  # fmt: skip
    for name in commands:
        with pytest.raises(SystemExit) as exit_info:
            main([name, "--help"])
        assert exit_info.value.code == 0
        assert "usage" in capsys.readouterr().out
