"""``clr-infer export onnx``: folders of weights in every precision, or nothing."""

import hashlib
import json

import numpy as np
import onnx
import pytest
from clr_infer.export import onnx_folder
from clr_infer.export.onnx_folder import PRECISIONS, write_onnx
from clr_infer.export.to_onnx import OPSET
from clr_infer.export.validate import QUALITY_LIMITS

import clr_infer
from clr_infer.cli import main
from clr_infer.errors import ModelError, RuntimeUnavailable, UsageError
from clr_infer.evaluate.precision import MEASURES
from clr_infer.networks.served import build_served, load_served
from clr_infer.specs import SPECS
from clr_infer.weights import Weights


def test_every_precision_is_a_folder_of_weights(onnx_folders):
    assert {p.name for p in onnx_folders.iterdir()} == set(PRECISIONS)
    for precision in PRECISIONS:
        weights = Weights(onnx_folders / precision)
        assert weights.manifest["precision"] == precision
        assert set(weights.manifest["files"]) == {f"{name}.onnx" for name in SPECS}
        for name, spec in SPECS.items():
            model = onnx.load_from_string(weights.read(f"{name}.onnx"))
            assert model.opset_import[0].version == OPSET
            facts = {p.key: json.loads(p.value) for p in model.metadata_props}
            assert facts["clr_infer.network"] == name
            assert facts["clr_infer.precision"] == precision
            assert [v.name for v in model.graph.input] == [t.name for t in spec.inputs]
            assert all(v.type.tensor_type.shape.dim[0].dim_param for v in model.graph.output)


def test_manifests_say_what_each_precision_costs(onnx_folders):
    for precision in PRECISIONS:
        manifest = Weights(onnx_folders / precision).manifest
        quality = manifest["quality"]
        assert tuple(quality["lost"]) == MEASURES
        for measure, limit in QUALITY_LIMITS[precision].items():
            lost = quality["reference"][measure] - quality["measured"][measure]
            assert lost == pytest.approx(quality["lost"][measure], abs=1e-3)
            assert lost <= limit
        assert quality["measured"]["box_iou"] > 0.97
        assert set(manifest["validation"]) == set(SPECS)
        assert quality["emulated"] == (precision in ("fp16", "bf16"))


def test_narrower_files_are_smaller(onnx_folders):
    sizes = {p: (onnx_folders / p / "recover.onnx").stat().st_size for p in PRECISIONS}
    assert sizes["int8"] < sizes["fp16"] == sizes["bf16"] < sizes["fp32"]


def test_reduced_precisions_open_like_any_weights(onnx_folders, raccoon):
    for precision in ("fp16", "int8"):
        session = clr_infer.load(weights=onnx_folders / precision)
        protected = session.protect(raccoon).image
        fragment = np.ascontiguousarray(protected[40:-60, 70:-30])
        found = clr_infer.load().recover(fragment)  # the shipped networks read what these wrote
        assert found.located.protected and found.image is not None
        again = session.recover(fragment)
        assert np.abs(found.image.astype(int) - again.image).mean() < 1.5


def test_bfloat16_says_where_it_runs(onnx_folders):
    with pytest.raises(RuntimeUnavailable, match="bfloat16"):
        clr_infer.load("onnxruntime", weights=onnx_folders / "bf16")


def test_the_shipped_files_are_as_they_were(onnx_folders):
    weights = Weights()
    for name, digest in weights.manifest["files"].items():
        assert hashlib.sha256((weights.folder / name).read_bytes()).hexdigest() == digest


def test_a_missed_limit_leaves_nothing_behind(tmp_path, onnx_folders, monkeypatch):
    weights, exported = Weights(), Weights(onnx_folders / "fp32")
    monkeypatch.setattr(  # exported already
        onnx_folder, "export_onnx", lambda _, spec, *__: exported.read(f"{spec.name}.onnx")
    )
    networks = load_served(weights)
    frames = np.random.default_rng(0).random((1, 3, weights.size, weights.size), np.float32)

    def poor(folder, precision):
        assert clr_infer.load(weights=folder).runtime.size == weights.size
        return {"lost": dict.fromkeys(MEASURES, 1.0)}

    with pytest.raises(ModelError, match="fp32 loses 1"):
        write_onnx(tmp_path / "out", weights, networks, ["fp32"], frames, poor)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("precisions", "word"),
    [(["fp12"], "choose"), ([], "choose"), (["fp16", "fp16"], "once"), (["int8"], "calibrate")],
)
def test_bad_choices_fail_before_any_work(tmp_path, monkeypatch, precisions, word):
    monkeypatch.setattr(onnx_folder, "export_onnx", lambda *_: pytest.fail("work was done"))
    weights = Weights()
    networks = build_served(weights.manifest)
    with pytest.raises(UsageError, match=word):
        write_onnx(tmp_path / "out", weights, networks, precisions, np.zeros(0), lambda *_: {})
    assert list(tmp_path.iterdir()) == []


def test_what_exists_is_not_overwritten(onnx_folders, capsys):
    before = (onnx_folders / "fp16" / "manifest.json").stat().st_mtime_ns
    assert main(["export", "onnx", "-o", str(onnx_folders), "--precision", "fp16"]) == 1
    assert "--force" in capsys.readouterr().err
    assert (onnx_folders / "fp16" / "manifest.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("target", ["onnx", "tensorrt", "weights"])
def test_help_teaches(target, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["export", target, "--help"])
    assert exit_info.value.code == 0
    assert "usage" in capsys.readouterr().out


def test_int8_without_photographs_is_wrong_usage(tmp_path, capsys):
    words = ["export", "onnx", "-o", str(tmp_path / "out"), "--precision", "int8"]
    assert main(words) == 2
    assert "--calibration" in capsys.readouterr().err
