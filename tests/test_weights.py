"""The shipped weights: whole, small, and only what they say they are."""

import json
import shutil

import numpy as np
import onnx
import pytest

import clr_infer
from clr_infer.errors import InputError, RuntimeUnavailable, UsageError, WeightsError
from clr_infer.specs import FRAME_PX, SPECS, check_inputs
from clr_infer.weights import MANIFEST, Weights, default_folder


@pytest.fixture
def copied(tmp_path):
    for path in default_folder().glob("*.*"):
        if path.suffix in (".onnx", ".json", ".safetensors"):
            shutil.copy(path, tmp_path / path.name)
    return tmp_path


def test_all_weights_together_are_small():
    parameters = 0
    for path in default_folder().glob("*.onnx"):
        graph = onnx.load(path).graph
        parameters += sum(int(np.prod(tensor.dims)) for tensor in graph.initializer)
    assert 2 * parameters < 12 * 1024 * 1024  # bytes in fp16


def test_their_frame_is_the_default():
    assert Weights().size == FRAME_PX


def test_every_file_of_the_manifest_is_there_and_right():
    weights = Weights()
    assert set(weights.manifest["files"]) == {
        "clr_infer.safetensors",
        *(f"{name}.onnx" for name in SPECS),
        *(f"int8/{name}.onnx" for name in ("protect", "align", "recover")),
    }
    for name in weights.manifest["files"]:
        assert weights.read(name)


def test_graphs_have_the_names_and_shapes_of_their_specs():
    weights = Weights()
    for name, spec in SPECS.items():
        model = onnx.load_from_string(weights.read(f"{name}.onnx"))
        for tensors, values in (
            (spec.inputs, model.graph.input),
            (spec.outputs, model.graph.output),
        ):
            assert [v.name for v in values] == [t.name for t in tensors]
            for value, tensor in zip(values, tensors, strict=True):
                dims = value.type.tensor_type.shape.dim
                assert dims[0].dim_param, f"{name}.{value.name} has no dynamic batch"
                assert tuple(d.dim_value for d in dims[1:]) == tensor.dims(weights.size)
        facts = {p.key: json.loads(p.value) for p in model.metadata_props}
        assert facts["clr_infer.network"] == name
        source = weights.manifest["files"]["clr_infer.safetensors"]
        assert facts["clr_infer.weights_sha256"] == source


def test_graphs_hold_no_traces_of_the_machine_they_were_made_on():
    weights = Weights()
    for name in SPECS:
        model = onnx.load_from_string(weights.read(f"{name}.onnx"))
        for tensor in model.graph.initializer:
            tensor.ClearField("raw_data")  # numbers can spell anything
        words = model.SerializeToString()
        assert b"site-packages" not in words and b".py" not in words and b"/root" not in words


def test_both_runtimes_agree_on_a_real_photograph(coffee):
    embedded, eager = clr_infer.load("onnxruntime"), clr_infer.load("torch")
    protected = embedded.protect(coffee).image
    assert np.abs(protected.astype(int) - eager.protect(coffee).image).max() <= 1
    fragment = np.ascontiguousarray(protected[30:370, 50:560])
    ours, theirs = embedded.recover(fragment), eager.recover(fragment)
    np.testing.assert_allclose(ours.located.crop_box, theirs.located.crop_box, atol=1e-3)
    assert np.abs(ours.image.astype(int) - theirs.image).mean() < 0.5


def test_a_changed_file_is_refused(copied):
    path = copied / "localize.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    session = clr_infer.load(weights=copied)
    with pytest.raises(WeightsError, match="sha256"):
        session.locate(np.zeros((64, 64, 3), np.uint8))


def test_a_missing_file_is_named(copied):
    (copied / "recover.onnx").unlink()
    with pytest.raises(WeightsError, match=r"recover\.onnx"):
        Weights(copied).read("recover.onnx")
    with pytest.raises(WeightsError, match="not among"):
        Weights(copied).read("../secret")


@pytest.mark.parametrize("content", ["", "{}", "[]", "not json", '{"format": 99}', '{"format": 1}'])
def test_a_strange_manifest_is_refused(copied, content):
    (copied / MANIFEST).write_text(content)
    with pytest.raises(WeightsError, match=MANIFEST):
        Weights(copied)


def test_foreign_safetensors_are_refused_by_name(copied):
    import hashlib

    from safetensors.numpy import save

    content = save({"unknown": np.zeros(3, np.float32)})
    (copied / "clr_infer.safetensors").write_bytes(content)
    manifest = json.loads((copied / MANIFEST).read_text())
    manifest["files"]["clr_infer.safetensors"] = hashlib.sha256(content).hexdigest()
    (copied / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(WeightsError, match="does not fit"):
        clr_infer.load("torch", weights=copied)


def test_unknown_runtimes_are_refused():
    with pytest.raises(UsageError, match="onnxruntime"):
        clr_infer.load("abacus")
    with pytest.raises(UsageError, match="threads"):
        clr_infer.load(threads=0)


def test_a_missing_library_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RuntimeUnavailable, match="pip install"):
        clr_infer.load("onnxruntime")


@pytest.mark.parametrize(
    ("tensors", "word"),
    [
        ({}, "takes"),
        ({"image": np.zeros((1, 3, 32, 32), np.float64)}, "float32"),
        ({"image": np.zeros((1, 3, 32, 31), np.float32)}, "must be"),
        ({"image": np.zeros((3, 32, 32), np.float32)}, "must be"),
        ({"image": np.zeros((0, 3, 32, 32), np.float32)}, "must be"),
        ({"image": np.zeros((1, 3, 32, 32), np.float32), "more": np.zeros(1)}, "takes"),
    ],
)
def test_inputs_are_held_against_the_spec(tensors, word):
    with pytest.raises(InputError, match=word):
        check_inputs(SPECS["protect"], 32, tensors)


def test_inputs_of_one_call_share_their_batch():
    tensors = {
        "aligned": np.zeros((2, 3, 32, 32), np.float32),
        "crop_box": np.zeros((1, 4), np.float32),
    }
    with pytest.raises(InputError, match="batch"):
        check_inputs(SPECS["recover"], 32, tensors)
