"""``config.pbtxt`` of every served model, from the specs. Nothing in them is kept by hand.

None has a ``default_queue_policy``: with one, Triton server does not prepare the next batch while
an instance works, and loses the wake-up of a request that comes in the moment before the instance
is free. Such a request waits until the scheduler looks again, which is after 500 ms (seen in 2.51
with every field of that policy, one instance, one client: every tenth request). What the policy
would do, the image-level models do themselves, see :mod:`.admission`; nobody else need reach the
networks.
"""

from collections.abc import Iterable, Sequence

from ..runtimes.triton_server import MAX_BATCH
from ..settings import Settings
from ..specs import NetworkSpec, TensorSpec
from ..weights import Weights
from .contract import REFINE_MODEL, ImageModelSpec
from .profiles import Profile

__all__ = ["TARGETS", "image_config", "network_config"]

_REFINING_QUEUE = 16
"""So many requests may wait for refinement, each behind the seconds or minutes of all before."""

TARGETS = ("python", "onnxruntime", "tensorrt")


def network_config(spec: NetworkSpec, target: str, weights: Weights, profile: Profile) -> str:
    """The config of a network-level model."""
    # FG-JPEG stays in Python in every target: there it reaches our kernels.
    target = "python" if spec.name == "fg_jpeg" else target
    scalars = [t for t in spec.inputs + spec.outputs if not t.shape]
    # On a CPU a batch takes as long as its images one by one: waiting for it only costs.
    delay_us = 0 if target == "python" else profile.queue_delay_us
    lines = [
        f'name: "{spec.model_name}"',
        *_backend(spec, target),
        f"max_batch_size: {MAX_BATCH}",
        *_tensors("input", spec.inputs, weights.size, scalars),
        *_tensors("output", spec.outputs, weights.size, scalars),
        "version_policy { latest { num_versions: 1 } }",
        *_instances(profile.instances, _device(spec, target)),
        "dynamic_batching {",
        f"  preferred_batch_size: [{MAX_BATCH // 2}, {MAX_BATCH}]",
        f"  max_queue_delay_microseconds: {delay_us}",
        "}",
        *_warmup(spec, weights.size, (1,) if target == "python" else (1, MAX_BATCH)),
    ]
    facts = {"network": spec.name}
    if target == "python":
        facts["runtime"] = "auto" if spec.name == "fg_jpeg" else profile.cpu_runtime
        facts["threads"] = str(profile.threads)
    return _text([*lines, *_parameters(facts)])


def image_config(
    spec: ImageModelSpec, weights: Weights, settings: Settings, profile: Profile
) -> str:
    """The config of an image-level model; the same for every target."""
    lines = [f'name: "{spec.name}"', 'backend: "python"', "max_batch_size: 0"]
    for kind, ports in (("input", spec.inputs), ("output", spec.outputs)):
        for port in ports:
            lines += [
                f"{kind} {{",
                f'  name: "{port.name}"',
                f"  data_type: TYPE_{port.dtype}",
                f"  dims: [{_joined(port.dims)}]",
                *(["  optional: true"] if kind == "input" else []),
                "}",
            ]
    facts = {
        "networks": ",".join(spec.networks),
        "frame_px": str(weights.size),
        "max_pixels": str(settings.max_pixels),
        "max_file_bytes": str(settings.max_file_bytes),
        "workers": str(profile.workers),
        "max_queue": str(profile.max_queue),
        "max_input_bytes": str(profile.max_input_bytes),
    }
    if spec is REFINE_MODEL:
        facts |= {"workers": "1", "max_queue": str(_REFINING_QUEUE)}
        facts["threads"] = str(profile.threads)
    lines += [
        "version_policy { latest { num_versions: 1 } }",
        *_instances(1, "KIND_CPU"),
        *_parameters(facts),
    ]
    return _text(lines)


def _backend(spec: NetworkSpec, target: str) -> list[str]:
    if target == "python":
        return ['backend: "python"']
    if target == "onnxruntime":
        return ['backend: "onnxruntime"', f'default_model_filename: "{spec.name}.onnx"']
    return [
        'backend: "tensorrt"',
        f'default_model_filename: "{spec.name}.plan"',
        "optimization { cuda { graphs: true busy_wait_events: true output_copy_stream: true } }",
    ]


def _device(spec: NetworkSpec, target: str) -> str:
    if target == "tensorrt":
        return "KIND_GPU"
    return "KIND_AUTO" if target == "onnxruntime" or spec.name == "fg_jpeg" else "KIND_CPU"


def _tensors(
    kind: str, tensors: Iterable[TensorSpec], size: int, scalars: Sequence[TensorSpec]
) -> list[str]:
    lines = []
    for tensor in tensors:
        lines += [
            f"{kind} {{",
            f'  name: "{tensor.name}"',
            "  data_type: TYPE_FP32",
            f"  dims: [{_joined(tensor.dims(size) or (1,))}]",
            *(["  reshape { shape: [] }"] if tensor in scalars else []),
            "}",
        ]
    return lines


def _instances(count: int, kind: str) -> list[str]:
    return [f"instance_group {{ count: {count} kind: {kind} }}"]


def _warmup(spec: NetworkSpec, size: int, batches: Iterable[int]) -> list[str]:
    lines = []
    for batch in batches:
        lines += ["model_warmup {", f'  name: "batch of {batch}"', f"  batch_size: {batch}"]
        for tensor in spec.inputs:
            lines += [
                "  inputs {",
                f'    key: "{tensor.name}"',
                f"    value {{ data_type: TYPE_FP32 dims: [{_joined(tensor.dims(size) or (1,))}] "
                "zero_data: true }",
                "  }",
            ]
        lines.append("}")
    return lines


def _parameters(facts: dict[str, str]) -> list[str]:
    return [
        f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}'
        for key, value in facts.items()
    ]


def _joined(values: Iterable[int]) -> str:
    return ", ".join(map(str, values))


def _text(lines: list[str]) -> str:
    header = "# Written by clr-infer export repository; do not edit."
    return "\n".join([header, *lines]) + "\n"
