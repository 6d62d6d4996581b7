"""A checkout runs where only PyTorch and numpy came with the machine: nothing is installed."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from clr_infer.cli import build_parser

ROOT = Path(__file__).parents[1]

# What a GPU machine that cannot reach a registry lacks, the package itself included.
_BARE = """
import sys

MISSING = {"kornia", "tritonclient", "tensorrt", "tensorrt_rtx", "cuda", "fastapi", "uvicorn",
           "kubernetes_validate", "skimage", "xdist"}

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path = [Missing()] + [
    finder for finder in sys.meta_path if "editable" not in getattr(finder, "__name__", "").lower()
]
"""


def _run_bare(code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", _BARE + code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_part_of_the_package_is_found_in_a_checkout():
    printed = _run_bare(
        "import clr_infer.kernels as k, clr_infer.export as e; print(k.__file__, e.__file__)"
    )
    kernels, export = printed.split()
    assert Path(kernels).parent == ROOT / "kernels" and Path(export).parent == ROOT / "export"


def test_the_gpu_tests_are_rehearsed_without_test_packages():
    """Files whose packages are missing say which; no other file fails with them."""
    code = (
        "import pytest; sys.argv.append('--rehearse');"
        "sys.exit(pytest.main(['-q', '-m', 'gpu', '--rehearse', '-p', 'no:cacheprovider', "
        "'-k', 'test_place']))"
    )
    printed = _run_bare(code)
    for missing in ("tritonclient.grpc", "kubernetes_validate", "skimage.metrics"):
        assert f"could not import '{missing}'" in printed
    assert "1 passed" in printed and "failed" not in printed


@pytest.mark.parametrize(
    ("target", "words", "expected"),
    [
        ("bench-gpu", [], {"output": Path("out"), "rehearse": False}),
        ("bench-gpu", ["REHEARSE=1"], {"output": Path("out/rehearsal"), "rehearse": True}),
        (
            "train-gpu",
            ["IMAGES=my photos", "VAL=others", "MINUTES=3", "SCHEDULE=20"],
            {"images": Path("my photos"), "val": Path("others"), "minutes": 3.0, "schedule": 20.0},
        ),
        ("train-gpu", ["REHEARSE=1"], {"images": None, "checkpoints": (), "rehearse": True}),
    ],
)
def test_make_says_what_the_command_line_understands(target, words, expected):
    command = ["make", "-n", "--no-print-directory", target, "OUT=out", *words]
    own = {key: value for key, value in os.environ.items() if "MAKE" not in key}  # of make test
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=own, check=True)
    given = shlex.split(done.stdout.replace("\\\n", " ").partition("-m clr_infer.cli ")[2])
    found = vars(build_parser().parse_args(given))
    assert {name: found[name] for name in expected} == expected
