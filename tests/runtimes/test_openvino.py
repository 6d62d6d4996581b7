"""OpenVINO: the embedded runtime's answers, and int8 and bfloat16 layers where graphs have them."""

import builtins
import hashlib
import json
import shutil
import threading

import numpy as np
import onnx
import pytest
from clr_infer.export.precision import to_half
from PIL import Image

import clr_infer
import clr_infer.runtimes.openvino_cpu as openvino_cpu
from clr_infer.errors import InputError, RuntimeUnavailable, WeightsError
from clr_infer.evaluate.metrics import psnr_outside
from clr_infer.processor import multiplies_int8
from clr_infer.runtimes import open_runtime
from clr_infer.runtimes.onnxruntime_cpu import OnnxRuntimeCpu
from clr_infer.runtimes.openvino_cpu import OpenVinoCpu
from clr_infer.samples import SAMPLE
from clr_infer.specs import FRAME_PX, SPECS
from clr_infer.weights import MANIFEST, SAFETENSORS, Weights, default_folder

BOX = np.array([[0.1, 0.15, 0.85, 0.9]] * 2, np.float32)


@pytest.fixture(scope="module")
def frames():
    photo = Image.open(SAMPLE).convert("RGB")
    parts = [photo.resize((FRAME_PX, FRAME_PX)), photo.rotate(180).resize((FRAME_PX, FRAME_PX))]
    return np.stack([np.asarray(part, np.float32).transpose(2, 0, 1) / 255 for part in parts])


@pytest.fixture(scope="module")
def bfloat16_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bf16")
    manifest = json.loads((default_folder() / MANIFEST).read_text())
    manifest["precision"] = "bf16"
    manifest["files"] = {k: v for k, v in manifest["files"].items() if "int8" not in k}
    shutil.copy(default_folder() / SAFETENSORS, folder)
    for name in SPECS:
        model = onnx.load(default_folder() / f"{name}.onnx")
        content = to_half(model, "bf16").SerializeToString()
        (folder / f"{name}.onnx").write_bytes(content)
        manifest["files"][f"{name}.onnx"] = hashlib.sha256(content).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


def _inputs(network, frames):
    values = {"crop_box": BOX, "qf": np.array([80.0, 35.0], np.float32)}
    return {t.name: values.get(t.name, frames) for t in SPECS[network].inputs}


@pytest.fixture
def float32(monkeypatch):
    """A processor that int8 graphs are not for."""
    monkeypatch.setattr(openvino_cpu, "multiplies_int8", lambda: False)


@pytest.fixture
def int8():
    if not multiplies_int8():
        pytest.skip("this processor has no VNNI")


@pytest.mark.parametrize("network", list(SPECS))
def test_it_answers_as_the_embedded_runtime(network, frames, float32):
    inputs = _inputs(network, frames)
    expected = OnnxRuntimeCpu(Weights()).run(network, inputs)
    found = OpenVinoCpu(Weights()).run(network, inputs)
    assert list(found) == [t.name for t in SPECS[network].outputs]
    for name, value in found.items():
        # FG-JPEG rounds coefficients: a tie that falls the other way moves a block by a level.
        least = 1e-4 if network != "fg_jpeg" else 0.05
        np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=least)


def test_bfloat16_layers_stay_near_float32_and_are_not_float32(frames, bfloat16_folder):
    session = open_runtime("openvino", Weights(bfloat16_folder))
    inputs = _inputs("recover", frames)
    expected = OnnxRuntimeCpu(Weights()).run("recover", inputs)["recovered"]
    found = session.run("recover", inputs)["recovered"]
    error = np.sqrt(np.square(found - expected).mean())
    assert 1e-6 < error < 2e-3  # of 1; the whole graph in bfloat16 is off by 0.09


def _as_in(tmp_path, name):
    """The int8 twin of a network as the graph of a folder, for ONNX Runtime."""
    content = (default_folder() / f"int8/{name}.onnx").read_bytes()
    (tmp_path / f"{name}.onnx").write_bytes(content)
    manifest = json.loads((default_folder() / MANIFEST).read_text())
    manifest["files"] = {f"{name}.onnx": hashlib.sha256(content).hexdigest()}
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    return Weights(tmp_path)


@pytest.mark.parametrize("network", ["protect", "align", "recover"])
def test_int8_rounds_where_the_graph_says_and_nowhere_else(network, frames, tmp_path, int8):
    inputs = {name: value[:1] for name, value in _inputs(network, frames).items()}
    exact = OnnxRuntimeCpu(Weights()).run(network, inputs)
    rounded = OnnxRuntimeCpu(_as_in(tmp_path, network)).run(network, inputs)
    found = OpenVinoCpu(Weights()).run(network, inputs)
    for name, values in exact.items():
        least, ours = (
            float(np.sqrt(np.square(one[name] - values).mean())) for one in (rounded, found)
        )
        # Roundings moved in front of joins gave ten (align) to fifty times (recover) as much.
        assert 0.3 * least < ours < 1.5 * least, name


def test_auto_takes_it_where_its_graphs_are_faster(bfloat16_folder, monkeypatch):
    monkeypatch.setattr("clr_infer.runtimes.device_capability", lambda: None)
    assert open_runtime("auto", Weights(bfloat16_folder)).name == "openvino"
    for vnni, expected in ((True, "openvino"), (False, "onnxruntime")):
        monkeypatch.setattr("clr_infer.runtimes.multiplies_int8", lambda vnni=vnni: vnni)
        assert open_runtime("auto", Weights()).name == expected


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_the_whole_pipeline_runs_on_it(precision, bfloat16_folder):
    photo = Image.open(SAMPLE).convert("RGB").resize((600, 450))
    folder = bfloat16_folder if precision == "bf16" else None
    with clr_infer.load("openvino", weights=folder) as session:
        protected = session.protect(photo).image
        fragment = protected[60:400, 90:520]
        located, recovered = session.locate(fragment), session.recover(fragment)
    assert located.protected
    outside = np.ones((450, 600), bool)
    outside[60:400, 90:520] = False
    image = np.asarray(Image.fromarray(recovered.image).resize((600, 450)))
    assert psnr_outside(np.asarray(photo), image, ~outside) > 18.0
    expected = (90 / 600, 60 / 450, 520 / 600, 400 / 450)
    np.testing.assert_allclose(located.crop_box, expected, atol=0.005)


def test_threads_share_it(frames):
    runtime = OpenVinoCpu(Weights(), 1)
    expected = runtime.run("align", {"received": frames})["aligned"]
    found = [None] * 4

    def work(i):
        found[i] = runtime.run("align", {"received": frames[i % 2 : i % 2 + 1]})["aligned"][0]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, value in enumerate(found):
        np.testing.assert_array_equal(value, expected[i % 2])


def test_it_closes_and_opens_again(frames):
    runtime = OpenVinoCpu(Weights(), 1)
    before = runtime.run("align", {"received": frames[:1]})["aligned"]
    runtime.close()
    assert not runtime._networks
    np.testing.assert_array_equal(runtime.run("align", {"received": frames[:1]})["aligned"], before)


def test_what_is_not_this_network_is_refused(tmp_path):
    for path in default_folder().glob("*.*"):
        if path.suffix in (".onnx", ".json"):
            shutil.copy(path, tmp_path)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    shutil.copy(tmp_path / "align.onnx", tmp_path / "protect.onnx")
    for name in [name for name in manifest["files"] if name.startswith("int8/")]:
        del manifest["files"][name]
    manifest["files"]["protect.onnx"] = manifest["files"]["align.onnx"]
    (tmp_path / "recover.onnx").write_bytes(b"not a graph")
    manifest["files"]["recover.onnx"] = hashlib.sha256(b"not a graph").hexdigest()
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    runtime, frame = (
        OpenVinoCpu(Weights(tmp_path)),
        np.zeros((1, 3, FRAME_PX, FRAME_PX), np.float32),
    )
    with pytest.raises(WeightsError, match="another network"):
        runtime.run("protect", {"image": frame})
    with pytest.raises(WeightsError, match="cannot load recover"):
        runtime.run("recover", {"aligned": frame, "crop_box": BOX[:1]})
    with pytest.raises(InputError):
        runtime.run("align", {"received": frame[:, :2]})


def test_without_the_library_it_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "openvino":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(RuntimeUnavailable, match=r"clr_infer\[openvino\]"):
        OpenVinoCpu(Weights())
