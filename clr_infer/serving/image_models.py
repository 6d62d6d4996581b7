"""The image-level models: a request's image through the pipeline, with the server's networks."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, ServerUnavailable
from ..image_io import (
    ALPHA_FORMATS,
    LoadedImage,
    check_encoding,
    encode_image,
    image_size,
    is_lossy,
    read_image,
)
from ..results import Located, Protected, Recovered
from ..runtimes.triton_server import TritonServerModels, from_array, to_array
from ..session import Session
from ..settings import Settings, key_of_environment
from ..weights import Weights
from .admission import Admission, Room
from .contract import (
    IMAGE_MODELS,
    QUEUE_FULL,
    RECOVERED_TIMES,
    REFINE_MODEL,
    ImageModelSpec,
    located_to_json,
)

__all__ = ["ImageModel", "answer"]

_IMAGES_AT_ONCE = 2
"""So many of the largest images are worked on at once, or more small ones."""

_GONE = "the client no longer waits"
_NO_IMAGE = np.zeros(1, np.uint8)
_NO_PIXELS = np.zeros((1, 1, 3), np.uint8)
_NO_CELLS = np.zeros((1, 1), np.float32)
_NO_BOX = (0.0, 0.0, 0.0, 0.0)


class _GivenUp(Exception):
    """Nobody waits for what is being worked on."""


class ImageModel:
    """What Triton server's Python backend runs for an image-level model.

    Requests are worked on by a pool of threads, so that those of many users wait for the networks
    at the same time and the server batches them. The rest wait here, up to a limit.
    """

    def initialize(self, args: dict[str, str]) -> None:
        """Open the pipeline; called once for each instance."""
        import triton_python_backend_utils as backend

        self._backend = backend
        config = json.loads(args["model_config"])
        parameters = {k: v["string_value"] for k, v in config["parameters"].items()}
        specs = (*IMAGE_MODELS.values(), REFINE_MODEL)
        self._spec = next(spec for spec in specs if spec.name == config["name"])
        weights = Weights(Path(args["model_repository"]) / args["model_version"])
        settings = Settings(
            max_pixels=int(parameters["max_pixels"]),
            max_file_bytes=int(parameters["max_file_bytes"]),
            copy_key=key_of_environment(),
        )
        threads = int(parameters.get("threads", 0)) or None
        self._session = Session(TritonServerModels(weights), weights, settings, threads)
        if self._spec is REFINE_MODEL:
            self._session.open_refiner()  # what is missing for it is said now
        workers, waiting = int(parameters["workers"]), int(parameters["max_queue"])
        self._pool = ThreadPoolExecutor(workers)
        self._room = Room(_IMAGES_AT_ONCE * settings.max_pixels)
        self._admission = Admission(workers + waiting, int(parameters["max_input_bytes"]))

    def execute(self, requests: list[Any]) -> None:
        """Give the requests to threads; the responses are sent from there."""
        for request in requests:
            size = sum(to_array(tensor).nbytes for tensor in request.inputs())
            sender = request.get_response_sender()
            if self._admission.enter(size):
                self._pool.submit(self._work, request, sender, size, time.monotonic())
            else:
                full = self._failure(QUEUE_FULL, self._backend.TritonError.UNAVAILABLE)
                self._send(sender, full)

    def finalize(self) -> None:
        """Finish what is under way; called when the model is unloaded."""
        self._pool.shutdown(wait=True)

    def _work(self, request: Any, sender: Any, size: int, since: float) -> None:
        try:
            self._send(sender, self._respond(request, since))
        finally:
            self._admission.leave(size)

    def _send(self, sender: Any, response: Any) -> None:
        sender.send(response, flags=self._backend.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def _respond(self, request: Any, since: float) -> Any:
        codes = self._backend.TritonError
        if self._is_gone(request, since):
            return self._failure(_GONE, codes.CANCELLED)
        try:
            inputs = {tensor.name(): to_array(tensor) for tensor in request.inputs()}
            parameters = json.loads(request.parameters() or "{}")
            wanted = set(request.requested_output_names())
            with self._room.taken(_pixels(self._spec, inputs, parameters)):
                if self._is_gone(request, since):  # while it waited
                    return self._failure(_GONE, codes.CANCELLED)

                def go_on(_: int) -> None:
                    if self._is_gone(request, since):
                        raise _GivenUp

                outputs = answer(self._session, self._spec, inputs, parameters, wanted, go_on)
            tensors = [from_array(name, array) for name, array in outputs.items()]
            return self._backend.InferenceResponse(tensors)
        except _GivenUp:
            return self._failure(_GONE, codes.CANCELLED)
        except InputError as error:
            return self._failure(f"{type(error).__name__}: {error}", codes.INVALID_ARG)
        except ServerUnavailable as error:
            return self._failure(str(error), codes.UNAVAILABLE)
        except MemoryError:
            return self._failure("not enough memory for this image", codes.UNAVAILABLE)
        except Exception as error:  # a request without a response would wait for ever
            return self._failure(f"{type(error).__name__}: {error}", codes.INTERNAL)

    def _is_gone(self, request: Any, since: float) -> bool:
        late = 0 < request.timeout() < (time.monotonic() - since) * 1e6
        return bool(late or request.is_cancelled())

    def _failure(self, text: str, code: int) -> Any:
        return self._backend.InferenceResponse(error=self._backend.TritonError(text, code))


def answer(
    session: Session,
    spec: ImageModelSpec,
    inputs: dict[str, np.ndarray],
    parameters: dict[str, Any],
    wanted: set[str],
    progress: Callable[[int], None] | None = None,
) -> dict[str, np.ndarray]:
    """Answer one request.

    Args:
        session: does the work.
        spec: of the model that was asked.
        inputs: one of ``spec.inputs`` by name.
        parameters: of the request, see ``spec.parameters``.
        wanted: names of outputs; nothing else is made.
        progress: called after each step of refining; what it raises ends it.

    Raises:
        InputError: the image or a parameter cannot be used.
        ServerUnavailable: a network-level model cannot answer now.
    """
    unknown = set(parameters) - set(spec.parameters)
    if unknown:
        raise InputError(f"{spec.name} knows no parameter {sorted(unknown)[0]!r}")
    source = _read(inputs, parameters, session.settings)
    options: dict[str, Any] = {}
    if "strength" in parameters:
        options["psnr_db"] = _number(parameters, "strength")
    if spec is REFINE_MODEL:
        options |= {"refine": _steps(parameters), "progress": progress}
    if spec.call == "fg_jpeg":
        options["qf"] = _number(parameters, "qf")
    for flag in {"turned", "copy"} & set(parameters):
        options[flag] = _flag(parameters, flag)
    if "image" in wanted & {port.name for port in spec.outputs}:  # before the work, not after it
        format, quality = _format(parameters)
        check_encoding(format, quality)
        _flag(parameters, "strip")
        if options.get("copy") and is_lossy(format, quality):
            raise InputError("a copy goes with lossless formats: this one would not keep it")
        if spec.call == "protect" and source.alpha is not None and format not in ALPHA_FORMATS:
            source = replace(source, warnings=(*source.warnings, f"{format} holds no alpha"))
    result = getattr(session, spec.call)(source.pixels, **options)

    located = result if spec.call == "locate" else getattr(result, "located", None)
    pixels = getattr(result, "image", None)
    outputs = {}
    for name in wanted & {port.name for port in spec.outputs}:
        if name == "result":
            outputs[name] = _facts(result, located, source)
        elif located is not None and name == "confidence":
            outputs[name] = np.array([located.confidence], np.float32)
        elif located is not None and name == "crop_box":
            outputs[name] = np.array(located.crop_box or _NO_BOX, np.float32)
        elif name == "uncertainty":
            cells = result.cell_uncertainty
            outputs[name] = _NO_CELLS if cells is None else cells
        elif pixels is None:
            outputs[name] = _NO_PIXELS if name == "pixels" else _NO_IMAGE
        else:
            outputs[name] = (
                pixels if name == "pixels" else _encoded(spec, pixels, source, parameters)
            )
    return outputs


def _pixels(spec: ImageModelSpec, inputs: dict[str, np.ndarray], parameters: dict[str, Any]) -> int:
    """The pixels that a request has room for: those of its image, or of what is recovered."""
    if "pixels" in inputs:
        height, width = inputs["pixels"].shape[:2]
    else:
        content = inputs.get("image", _NO_IMAGE).tobytes()
        width, height = image_size(content, parameters.get("frame"))
    return width * height * (RECOVERED_TIMES if spec.call == "recover" else 1)


def _facts(result: Any, located: Located | None, source: LoadedImage) -> np.ndarray:
    facts: dict[str, Any] = {"warnings": source.warnings, "timings_ms": result.timings_ms}
    if located is not None:
        facts["located"] = located_to_json(located)
    if isinstance(result, Recovered):
        facts["expected_psnr_db"] = result.expected_psnr_db
        facts["from_copy"] = result.from_copy
    if isinstance(result, Protected):
        facts |= {"psnr_db": result.psnr_db, "copy_psnr_db": result.copy_psnr_db}
    return np.frombuffer(bytearray(json.dumps(facts).encode()), np.uint8)


def _read(
    inputs: dict[str, np.ndarray], parameters: dict[str, Any], settings: Settings
) -> LoadedImage:
    if len(inputs) != 1:
        raise InputError("a request holds either an encoded image or pixels")
    if "image" in inputs:
        return read_image(inputs["image"].tobytes(), settings, frame=parameters.get("frame"))
    return LoadedImage(inputs["pixels"], None, "PNG", None, None, ())


def _number(parameters: dict[str, Any], name: str) -> float:
    try:
        return float(parameters[name])
    except KeyError:
        raise InputError(f"parameter {name!r} is missing") from None
    except ValueError:
        raise InputError(f"parameter {name!r} must be a number, not {parameters[name]!r}") from None


def _steps(parameters: dict[str, Any]) -> int:
    steps = parameters.get("refine")
    if isinstance(steps, int) and not isinstance(steps, bool) and steps > 0:
        return steps
    raise InputError(f"parameter 'refine' must be a number of steps above 0, not {steps!r}")


def _flag(parameters: dict[str, Any], name: str) -> bool:
    value = parameters.get(name, False)
    if isinstance(value, bool):
        return value
    raise InputError(f"parameter {name!r} must be true or false, not {value!r}")


def _format(parameters: dict[str, Any]) -> tuple[str, Any]:
    return str(parameters.get("format", "png")).upper(), parameters.get("quality")


def _encoded(
    spec: ImageModelSpec, pixels: np.ndarray, source: LoadedImage, parameters: dict[str, Any]
) -> np.ndarray:
    strip, (format, quality) = _flag(parameters, "strip"), _format(parameters)
    content = encode_image(
        pixels,
        format=format,
        quality=quality,
        alpha=source.alpha if spec.call == "protect" else None,
        exif=None if strip else source.exif,
        icc_profile=None if strip else source.icc_profile,
    )
    return np.frombuffer(bytearray(content), np.uint8)
