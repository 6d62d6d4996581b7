"""Inside Triton server's Python backend: its tensors as arrays, and its models as a runtime.

Tensors pass by DLPack. The backend's own conversions were compiled against the layout of numpy 1
in some of the servers that are in use, and read sizes of numpy 2's arrays as zero.
"""

import ctypes
from functools import partial

import numpy as np

from ..errors import ServerUnavailable
from ..pixels import HostPixels, Pixels
from ..specs import SPECS, check_inputs
from ..weights import Weights
from .base import Tensors, in_pieces, joined

__all__ = ["MAX_BATCH", "TritonServerModels", "from_array", "joined", "to_array"]

MAX_BATCH = 8
"""The largest batch of the network-level models."""

_FRESH, _USED = b"dltensor", b"used_dltensor"
_GetPointer = ctypes.pythonapi.PyCapsule_GetPointer
_GetPointer.restype, _GetPointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
_SetName = ctypes.pythonapi.PyCapsule_SetName
_SetName.argtypes = [ctypes.py_object, ctypes.c_char_p]
_New = ctypes.pythonapi.PyCapsule_New
_New.restype = ctypes.py_object
_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


class _Export:
    """Hands an array over by DLPack in a capsule without a destructor.

    The backend takes the tensor, and names the capsule in a way that numpy's own destructor
    complains about.
    """

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.__dlpack_device__()

    def __dlpack__(self, stream: object = None) -> object:
        capsule = self._array.__dlpack__()
        pointer = _GetPointer(capsule, _FRESH)
        _SetName(capsule, _USED)
        return _New(pointer, _FRESH, None)


def from_array(name: str, array: np.ndarray):  # noqa: ANN201 - a type of the backend
    """A backend tensor of an array, which must not be empty."""
    import triton_python_backend_utils as backend

    owned = np.require(array, requirements=("C", "W"))
    return backend.Tensor.from_dlpack(name, _Export(owned))


def to_array(tensor) -> np.ndarray:  # noqa: ANN001
    """The values of a backend tensor in CPU memory, without a copy."""
    return np.from_dlpack(tensor)


class TritonServerModels:
    """Runs the network-level models of the server that this process serves.

    Calls from several threads are under way at the same time, and the server batches them.

    Args:
        weights: their facts; the networks themselves are not opened.
    """

    name = "triton-server"
    pixels: Pixels = HostPixels()

    def __init__(self, weights: Weights) -> None:
        import triton_python_backend_utils as backend

        self._backend = backend
        self._in_cpu_memory = backend.PreferredMemory(backend.TRITONSERVER_MEMORY_CPU, 0)
        self.size, self.psnr_db = weights.size, weights.psnr_db

    def run(self, network: str, tensors: Tensors) -> Tensors:
        """Run a network on a batch, see :class:`.base.Runtime`.

        Raises:
            InputError: the tensors do not fit the network's spec.
            ServerUnavailable: the network-level model cannot answer now.
        """
        check_inputs(SPECS[network], self.size, tensors)
        return in_pieces(partial(self._run_piece, network), tensors, MAX_BATCH)

    def close(self) -> None:
        """Nothing is held: the models are the server's."""

    def _run_piece(self, network: str, tensors: Tensors) -> Tensors:
        spec = SPECS[network]
        count = len(next(iter(tensors.values())))
        request = self._backend.InferenceRequest(
            model_name=spec.model_name,
            requested_output_names=[t.name for t in spec.outputs],
            inputs=[
                from_array(t.name, tensors[t.name].reshape(count, *(t.dims(self.size) or (1,))))
                for t in spec.inputs
            ],
            preferred_memory=self._in_cpu_memory,
        )
        response = request.exec()
        if response.has_error():
            raise ServerUnavailable(f"{spec.model_name}: {response.error().message()}")
        outputs = {tensor.name(): to_array(tensor) for tensor in response.output_tensors()}
        # Copied, as the server's memory behind them ends with the response.
        return {
            t.name: outputs[t.name].reshape(count, *t.dims(self.size)).copy() for t in spec.outputs
        }
