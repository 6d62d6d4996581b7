"""Real engines, built by TensorRT-RTX without a GPU; and everything that must not build."""

import hashlib
import sys
from pathlib import Path

import pytest
from clr_infer.export import to_tensorrt
from clr_infer.export.onnx_folder import PRECISIONS
from clr_infer.export.to_tensorrt import EngineOptions, build_engine, write_engines

from clr_infer.cli import main
from clr_infer.engine_files import Sidecar, plan_name, platform_name, sidecar_name
from clr_infer.errors import ModelError, RuntimeUnavailable, UsageError
from clr_infer.specs import FRAME_PX, SPECS
from clr_infer.weights import Weights

trt = pytest.importorskip("tensorrt_rtx", exc_type=ImportError)

RTX = EngineOptions("tensorrt-rtx", batches=(1, 2, 4))


@pytest.fixture(scope="module")
def align():
    return Weights().read("align.onnx")


def test_every_network_and_precision_has_an_engine_and_a_true_sidecar(engine_folders):
    assert {p.name for p in engine_folders.iterdir()} == set(PRECISIONS)
    for precision in PRECISIONS:
        weights = Weights(engine_folders / precision)
        assert weights.manifest["precision"] == precision
        for name, spec in SPECS.items():
            plan = weights.read(plan_name(name))
            facts = Sidecar.from_json(weights.read(sidecar_name(name)))
            assert (facts.network, facts.precision) == (name, precision)
            assert facts.onnx_sha256 == weights.manifest["files"][f"{name}.onnx"]
            assert facts.plan_sha256 == hashlib.sha256(plan).hexdigest()
            assert facts.plan_bytes == len(plan) > 100_000
            assert (facts.flavour, facts.version) == ("tensorrt-rtx", trt.__version__)
            assert (facts.platform, facts.compute_capabilities) == (platform_name(), ("8.0+",))
            assert set(facts.profile) == {tensor.name for tensor in spec.inputs}
            assert facts.batch_max == 32 and facts.build_s > 0


def test_engines_of_16_bits_are_smaller(engine_folders):
    def size(precision):
        return (engine_folders / precision / plan_name("protect")).stat().st_size

    assert size("fp16") < size("fp32") and size("bf16") < size("fp32")


def test_progress_is_shown(align, monkeypatch):
    monitors = []

    def remembered(*words):
        monitors.append(original(*words))
        return monitors[-1]

    original = to_tensorrt._monitor
    monkeypatch.setattr(to_tensorrt, "_monitor", remembered)
    build_engine(align, SPECS["align"], FRAME_PX, "fp32", RTX)
    assert monitors[0].steps > 0 and not monitors[0].bars


def test_the_profile_is_that_of_the_options(align):
    _, facts = build_engine(align, SPECS["align"], FRAME_PX, "fp32", RTX)
    assert facts.profile == {
        "received": {
            "min": [1, 3, FRAME_PX, FRAME_PX],
            "opt": [2, 3, FRAME_PX, FRAME_PX],
            "max": [4, 3, FRAME_PX, FRAME_PX],
        }
    }


def test_chosen_gpus_are_kept_in_the_sidecar(align):
    options = EngineOptions("tensorrt-rtx", (1, 1, 1), compute_capabilities=("8.9", "12.0"))
    _, facts = build_engine(align, SPECS["align"], FRAME_PX, "fp32", options)
    assert facts.compute_capabilities == ("8.9", "12.0")
    unknown = EngineOptions("tensorrt-rtx", compute_capabilities=("3.5",))
    with pytest.raises(UsageError, match="SM80"):
        build_engine(align, SPECS["align"], FRAME_PX, "fp32", unknown)


@pytest.mark.parametrize("graph", [b"", b"no graph at all"])
def test_what_is_no_graph_is_refused(graph):
    with pytest.raises(ModelError, match="cannot (read|build).* align"):
        build_engine(graph, SPECS["align"], FRAME_PX, "fp32", RTX)


def test_a_graph_that_does_not_fit_its_profile_cannot_be_built(align):
    with pytest.raises(ModelError, match="cannot build align"):
        build_engine(align, SPECS["align"], 256, "fp32", RTX)


def test_a_failed_build_leaves_nothing_behind(tmp_path, monkeypatch):
    built = []

    def fails_late(*words):
        if len(built) == 2:
            raise ModelError("the third engine cannot be built")
        built.append(build_engine(*words))
        return built[-1]

    monkeypatch.setattr(to_tensorrt, "build_engine", fails_late)
    with pytest.raises(ModelError, match="third"):
        write_engines(tmp_path / "out", [Weights()], RTX)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options",
    [
        EngineOptions("tensorrt-rtx", batches=(0, 1, 1)),
        EngineOptions("tensorrt-rtx", batches=(4, 2, 8)),
        EngineOptions("tensorrt-rtx", batches=(2, 4, 8)),
        EngineOptions("tensorrt-rtx", version_compatible=True),
        EngineOptions("tensorrt-rtx", hardware_compatible=True),
        EngineOptions("tensorrt-rtx", timing_cache=Path("/nowhere/times")),
        EngineOptions("tensorrt", compute_capabilities=("8.9",)),
        EngineOptions("abacus"),
    ],
)
def test_options_that_do_not_go_together_are_refused(tmp_path, options):
    with pytest.raises(UsageError):
        write_engines(tmp_path / "out", [Weights()], options)
    assert list(tmp_path.iterdir()) == []


def test_two_folders_of_one_precision_are_refused(tmp_path):
    with pytest.raises(UsageError, match="each precision once"):
        write_engines(tmp_path / "out", [Weights(), Weights()], RTX)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flavour", ["tensorrt", "tensorrt-rtx"])
def test_a_missing_library_says_what_to_install(tmp_path, monkeypatch, flavour, capsys):
    monkeypatch.setitem(sys.modules, flavour.replace("-", "_"), None)
    with pytest.raises(RuntimeUnavailable, match=rf"clr_infer\[{flavour}\]"):
        write_engines(tmp_path / "out", [Weights()], EngineOptions(flavour))
    assert list(tmp_path.iterdir()) == []


def test_what_exists_is_not_overwritten(engine_folders, capsys):
    words = ["export", "tensorrt", "-o", str(engine_folders), "--flavour", "tensorrt-rtx"]
    assert main(words) == 1  # before the export that it would take
    assert "--force" in capsys.readouterr().err


def test_a_folder_of_another_precision_is_refused(onnx_folders, tmp_path, capsys):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "fp16").symlink_to(onnx_folders / "int8")
    words = ["export", "tensorrt", "-o", str(tmp_path / "out"), "--flavour", "tensorrt-rtx"]
    assert main([*words, "--from", str(tmp_path / "models"), "--precision", "fp16"]) == 2
    assert "int8" in capsys.readouterr().err
    assert main([*words, "--from", "x", "--validate-on", "y"]) == 2
    assert not (tmp_path / "out").exists()
