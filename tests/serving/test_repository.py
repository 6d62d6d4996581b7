"""The model repository: made from the specs, and read by Triton server's own protobuf."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf import text_format

from clr_infer.cli import main
from clr_infer.errors import OutputError, UsageError
from clr_infer.serving.config_text import TARGETS
from clr_infer.serving.contract import IMAGE_MODELS
from clr_infer.serving.profiles import PROFILES, chosen_profile
from clr_infer.serving.repository import repository_texts, write_repository
from clr_infer.specs import SPECS
from clr_infer.weights import SAFETENSORS, Weights

model_config_pb2 = pytest.importorskip("tritonclient.grpc").model_config_pb2

COMMITTED = Path(__file__).parents[2] / "triton_repo"


def _configs(target, profile="latency"):
    texts = repository_texts(target, Weights(), PROFILES[profile])
    return {
        name.split("/")[0]: text_format.Parse(text, model_config_pb2.ModelConfig())
        for name, text in texts.items()
        if name.endswith("config.pbtxt")
    }


@pytest.mark.parametrize("target", TARGETS)
def test_committed_files_are_what_the_generator_writes(target):
    texts = repository_texts(target, Weights())
    folder = COMMITTED / target
    committed = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert committed == set(texts)
    for name, text in texts.items():
        assert (folder / name).read_text("utf-8") == text, f"write {name} again"


@pytest.mark.parametrize("target", TARGETS)
def test_configs_say_what_the_specs_say(target):
    configs = _configs(target)
    assert set(configs) == {s.model_name for s in SPECS.values()} | {
        m.name for m in IMAGE_MODELS.values()
    }
    size = Weights().size
    for spec in SPECS.values():
        config = configs[spec.model_name]
        assert config.name == spec.model_name and config.max_batch_size == 8
        for tensors, ports in ((spec.inputs, config.input), (spec.outputs, config.output)):
            assert [p.name for p in ports] == [t.name for t in tensors]
            for tensor, port in zip(tensors, ports, strict=True):
                assert port.data_type == model_config_pb2.TYPE_FP32
                assert tuple(port.dims) == (tensor.dims(size) or (1,))
                assert port.HasField("reshape") == (tensor.shape == ())
    for model in IMAGE_MODELS.values():
        assert [p.name for p in configs[model.name].input] == [p.name for p in model.inputs]
        assert [p.name for p in configs[model.name].output] == [p.name for p in model.outputs]
        assert all(port.optional for port in configs[model.name].input)


def test_each_target_has_its_backend():
    for target in TARGETS:
        configs = _configs(target)
        assert configs["protect_network"].backend == target
        assert configs["fg_jpeg_network"].backend == "python"
        assert configs["clr_recover"].backend == "python"
    assert _configs("tensorrt")["align_network"].default_model_filename == "align.plan"


def test_profiles_differ_where_they_should():
    for target in TARGETS:
        latency, throughput = _configs(target), _configs(target, "throughput")
        for name in (spec.model_name for spec in SPECS.values()):
            delay_us = throughput[name].dynamic_batching.max_queue_delay_microseconds
            assert latency[name].dynamic_batching.max_queue_delay_microseconds == 0
            assert (delay_us > 0) == (throughput[name].backend != "python")
            assert throughput[name].instance_group[0].count > latency[name].instance_group[0].count
            if throughput[name].backend == "python":
                assert latency[name].parameters["threads"].string_value == "0"
                assert throughput[name].parameters["threads"].string_value == "1"
        for spec, key in itertools.product(IMAGE_MODELS.values(), ("workers", "max_queue")):
            few, many = (c[spec.name].parameters[key].string_value for c in (latency, throughput))
            assert 0 < int(few) < int(many)


def test_profiles_are_chosen_by_name_and_number_of_instances():
    assert chosen_profile("latency", 3) == replace(PROFILES["latency"], instances=3)
    assert chosen_profile("throughput") == PROFILES["throughput"]
    with pytest.raises(UsageError, match="at least 1 instance"):
        chosen_profile("latency", 0)
    for words in (("speed",), ("latency", 1, "abacus")):
        with pytest.raises(UsageError, match=words[-1]):
            chosen_profile(*words)


@pytest.mark.parametrize("profile", sorted(PROFILES))
@pytest.mark.parametrize("target", TARGETS)
def test_no_queue_policy_which_makes_the_scheduler_lose_requests(target, profile):
    for config in _configs(target, profile).values():
        assert not config.dynamic_batching.HasField("default_queue_policy")
        assert not config.dynamic_batching.preserve_ordering
        image_level = config.name in {m.name for m in IMAGE_MODELS.values()}
        assert ("max_queue" in config.parameters) == image_level


def test_a_model_py_is_a_page_at_most_and_holds_no_arithmetic():
    for name, text in repository_texts("python", Weights()).items():
        if name.endswith("model.py"):
            compile(text, name, "exec")
            assert len(text.splitlines()) <= 60 and "numpy" not in text


def test_the_command_writes_a_repository_with_checked_weights(tmp_path):
    out = tmp_path / "models"
    assert main(["export", "repository", "--target", "python", "-o", str(out)]) == 0
    for spec in SPECS.values():
        version = Weights(out / spec.model_name / "1")
        assert version.read(f"{spec.name}.onnx") == Weights().read(f"{spec.name}.onnx")
    assert [path.parts[-3] for path in out.rglob(SAFETENSORS)] == ["fg_jpeg_network"]
    assert main(["export", "repository", "--target", "python", "-o", str(out)]) == 1
    assert not (out / "protect_network" / "1" / "int8").exists()
    again = ["export", "repository", "--target", "python", "-o", str(out), "--force"]
    assert main([*again, "--cpu-runtime", "openvino"]) == 0
    for name in ("protect", "align", "recover"):
        version = Weights(out / f"{name}_network" / "1")
        assert version.read(f"int8/{name}.onnx") == Weights().read(f"int8/{name}.onnx")
    assert '"openvino"' in (out / "protect_network" / "config.pbtxt").read_text()
    assert main(["export", "repository", "--target", "onnxruntime", "-o", str(out), "--force"]) == 0
    assert not (out / "protect_network" / "1" / "model.py").exists()


def test_an_empty_folder_is_filled_also_where_the_command_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["export", "repository", "--target", "onnxruntime", "--configs-only", "-o", "."]
    assert main(words) == 0
    written = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert written == set(repository_texts("onnxruntime", Weights()))


def test_foreign_folders_are_never_replaced(tmp_path):
    (tmp_path / "precious.txt").write_text("keep")
    with pytest.raises(OutputError, match="no repository of ours"):
        write_repository(tmp_path, "python", Weights(), force=True)
    assert (tmp_path / "precious.txt").read_text() == "keep"


def test_engines_are_asked_for_and_put_in_place(tmp_path):
    with pytest.raises(UsageError, match="engines"):
        write_repository(tmp_path / "out", "tensorrt", Weights())
    with pytest.raises(UsageError, match="cannot read the engine of protect"):
        write_repository(tmp_path / "out", "tensorrt", Weights(), engines=tmp_path)
    assert not (tmp_path / "out").exists()
    for name in SPECS:
        (tmp_path / f"{name}.plan").write_bytes(name.encode())
    write_repository(tmp_path / "out", "tensorrt", Weights(), engines=tmp_path)
    plan = tmp_path / "out" / "recover_network" / "1" / "recover.plan"
    assert plan.read_bytes() == b"recover"


def test_unknown_targets_are_refused():
    with pytest.raises(UsageError, match="abacus"):
        repository_texts("abacus", Weights())
