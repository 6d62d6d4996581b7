"""The network-level models of target ``python``: a network behind Triton server's batching."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ClrError, InputError, RuntimeUnavailable
from ..runtimes import Runtime, open_runtime
from ..runtimes.base import Tensors
from ..runtimes.triton_server import from_array, joined, to_array
from ..specs import SPECS, NetworkSpec, check_inputs
from ..weights import Weights

__all__ = ["NetworkModel"]


class NetworkModel:
    """What Triton server's Python backend runs for a network.

    The folder of the model's version is a folder of weights; ``parameters`` of its config name the
    network, the runtime and the threads.
    """

    def initialize(self, args: dict[str, str]) -> None:
        """Open the network; called once for each instance."""
        import triton_python_backend_utils as backend

        self._backend = backend
        parameters = json.loads(args["model_config"])["parameters"]
        self._spec = SPECS[parameters["network"]["string_value"]]
        weights = Weights(Path(args["model_repository"]) / args["model_version"])
        threads = int(parameters["threads"]["string_value"]) or None
        on_gpu = args["model_instance_kind"] == "GPU"
        self._runtime = _open(parameters["runtime"]["string_value"], weights, threads, on_gpu)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Run the requests as one batch; one that cannot be used fails alone."""
        responses: list[Any] = [None] * len(requests)
        accepted: dict[int, Tensors] = {}
        for index, request in enumerate(requests):
            try:
                accepted[index] = self._read(request)
            except InputError as error:
                responses[index] = self._failure(error, self._backend.TritonError.INVALID_ARG)
        if accepted:
            try:
                outputs = self._run(list(accepted.values()))
            except ClrError as error:
                code = self._backend.TritonError.INTERNAL
                outputs = [self._failure(error, code) for _ in accepted]  # one each: they are freed
            for index, response in zip(accepted, outputs, strict=True):
                responses[index] = response
        return responses

    def _read(self, request: Any) -> Tensors:
        tensors = {tensor.name(): to_array(tensor) for tensor in request.inputs()}
        return network_inputs(self._spec, self._runtime.size, tensors)

    def _run(self, batch: list[Tensors]) -> list[Any]:
        counts = [len(next(iter(tensors.values()))) for tensors in batch]
        inputs = {t.name: joined([b[t.name] for b in batch]) for t in self._spec.inputs}
        outputs = self._runtime.run(self._spec.name, inputs)
        stops = np.cumsum(counts)
        return [
            self._backend.InferenceResponse(
                [
                    from_array(t.name, outputs[t.name][stop - count : stop])
                    for t in self._spec.outputs
                ]
            )
            for count, stop in zip(counts, stops, strict=True)
        ]

    def _failure(self, error: Exception, code: int) -> Any:
        text = f"{type(error).__name__}: {error}"
        return self._backend.InferenceResponse(error=self._backend.TritonError(text, code))


def network_inputs(spec: NetworkSpec, size: int, tensors: Tensors) -> Tensors:
    """Bring the tensors of one request to the network's shapes and check them.

    Raises:
        InputError: a wrong shape, an empty batch, or values that are no numbers.
    """
    shaped = {}
    for tensor in spec.inputs:
        value = tensors[tensor.name]
        # The server has no scalars: one value of each image comes as an axis of length 1.
        shaped[tensor.name] = value if tensor.shape else value.reshape(len(value))
    check_inputs(spec, size, shaped)
    for name, value in shaped.items():
        if not np.isfinite(value).all():
            raise InputError(f"{spec.name}.{name} holds NaN or infinity")
    return shaped


def _open(runtime: str, weights: Weights, threads: int | None, on_gpu: bool) -> Runtime:
    """``"auto"`` is PyTorch, with our kernels, on a GPU where both are there."""
    if runtime != "auto":
        return open_runtime(runtime, weights, threads)
    if on_gpu:
        try:
            return open_runtime("torch", weights)
        except RuntimeUnavailable:
            pass
    return open_runtime("onnxruntime", weights, threads)
