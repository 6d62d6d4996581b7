"""Requests and replies: what a call of ours is in tensors, and what its tensors mean."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

import numpy as np

from ..errors import ImageError, InputError
from ..image_checks import check_pixels
from ..results import Protected, Recovered, Simulated
from ..serving.contract import (
    IMAGE_MODELS,
    RECOVERED_TIMES,
    REFINE_MODEL,
    located_from_json,
)
from ..settings import Settings

__all__ = ["Call", "Encoded", "Reply", "encoded_call", "parameters", "pixels_call"]

Reply = dict[str, np.ndarray]


@dataclass(frozen=True)
class Encoded:
    """The answer to an encoded image.

    Attributes:
        content: the resulting image file; ``None`` where there is none, as of an image that is
            not protected.
        facts: everything else: ``psnr_db`` and ``copy_psnr_db``, or ``located``,
            ``expected_psnr_db`` and ``from_copy``; ``warnings`` and ``timings_ms``.
    """

    content: bytes | None
    facts: dict[str, Any]


@dataclass(frozen=True)
class Call:
    """One request.

    Attributes:
        model: its name on the server.
        inputs: tensors by name.
        outputs: names of the tensors to be given back.
        parameters: of the request.
        output_bytes: the room that an output needs, where it is known.
        parse: makes the result of the reply.
    """

    model: str
    inputs: dict[str, np.ndarray]
    outputs: tuple[str, ...]
    parse: Callable[[Reply], Any]
    parameters: dict[str, Any] = field(default_factory=dict)
    output_bytes: dict[str, int] = field(default_factory=dict)


def parameters(method: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The request parameters of a method's options.

    Args:
        method: ``"protect"``, ``"locate"``, ``"recover"`` or ``"fg_jpeg"``.
        options: by the names of the session's arguments.

    Raises:
        InputError: there is no such method or option, a number is none, or ``qf`` is missing.
    """
    if method not in _OPTIONS:
        raise InputError(f"there is no method {method!r}; choose {', '.join(_OPTIONS)}")
    known = _OPTIONS[method]
    if unknown := [name for name in options if name not in known]:
        takes = " and ".join(filter(None, (", ".join(known[:-1]), known[-1])))
        raise InputError(f"{method} takes {takes}, not {', '.join(unknown)}")
    if method == "fg_jpeg" and "qf" not in options:
        raise InputError("fg_jpeg needs qf, the quality factor, 1 to 100")
    sent: dict[str, Any] = {}
    for name, value in options.items():
        if name in _COUNTS:
            if count := _whole(name, value):
                sent[name] = count
        elif name not in _FLAGS:
            sent[_SENT_AS.get(name, name)] = repr(_number(name, value))
        elif value:  # servers from before it know no such parameter
            sent[name] = True
    return sent


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{name} must be a number, not {value!r}") from error


def _whole(name: str, value: Any) -> int:
    if isinstance(value, Integral) and 0 <= int(value) < 2**31:
        return int(value)
    raise InputError(f"{name} must be a whole number from 0 on, not {value!r}")


def _model(method: str, sent: Mapping[str, Any]) -> str:
    return (REFINE_MODEL if "refine" in sent else IMAGE_MODELS[method]).name


def pixels_call(method: str, image: object, settings: Settings, options: Mapping[str, Any]) -> Call:
    """The request of a session's method: pixels, or an encoded file, to a result of ours.

    Raises:
        ImageError: the image cannot be used; nothing was sent.
        InputError: an option cannot be used, see :func:`parameters`.
    """
    sent = parameters(method, options)
    inputs, size = _inputs(image, settings)
    room = {}
    if size and method != "locate":
        room["pixels"] = size * (RECOVERED_TIMES if method == "recover" else 1)
    return Call(
        model=_model(method, sent),
        inputs=inputs,
        outputs=_OUTPUTS[method],
        parse=_PARSERS[method],
        parameters=sent,
        output_bytes=room,
    )


def encoded_call(
    method: str, image: object, settings: Settings, options: Mapping[str, Any], **writing: Any
) -> Call:
    """The request for an encoded file back; ``writing`` says of what kind.

    Raises:
        ImageError: the image cannot be used; nothing was sent.
        InputError: an option cannot be used, see :func:`parameters`.
    """
    sent = parameters(method, options)
    chosen = {k: repr(v) if isinstance(v, float) else v for k, v in writing.items()}
    return Call(
        model=_model(method, sent),
        inputs=_inputs(image, settings)[0],
        outputs=("image", "result"),
        parse=_encoded,
        parameters=sent | {k: v for k, v in chosen.items() if v is not None},
    )


def _inputs(image: object, settings: Settings) -> tuple[dict[str, np.ndarray], int]:
    """The tensors of an image, and the bytes of its pixels where they are known."""
    if isinstance(image, memoryview) and not image.c_contiguous:
        image = image.tobytes()
    if isinstance(image, bytes | bytearray | memoryview):
        content = np.frombuffer(image, np.uint8)
        if not content.size:
            raise ImageError("the file is empty (0 bytes)")
        if content.size > settings.max_file_bytes:
            raise ImageError(
                f"the file has {content.size} bytes; the limit is {settings.max_file_bytes} "
                "(raise it with max_file_bytes)"
            )
        return {"image": content}, 0
    pixels = check_pixels(image, settings)
    return {"pixels": pixels}, pixels.nbytes


def _facts(reply: Reply) -> dict[str, Any]:
    return json.loads(reply["result"].tobytes())


def _protected(reply: Reply) -> Protected:
    facts = _facts(reply)
    copy = facts.get("copy_psnr_db")
    return Protected(reply["pixels"], facts["psnr_db"], facts["timings_ms"], copy)


def _recovered(reply: Reply) -> Recovered:
    facts = _facts(reply)
    located = located_from_json(facts["located"])
    if not located.protected:
        return Recovered(None, located, facts["timings_ms"])
    from_copy = facts.get("from_copy", False)
    return Recovered(reply["pixels"], located, facts["timings_ms"], reply["uncertainty"], from_copy)


def _encoded(reply: Reply) -> Encoded:
    facts = _facts(reply)
    nothing = "located" in facts and not facts["located"]["protected"]
    return Encoded(None if nothing else reply["image"].tobytes(), facts)


_OPTIONS: dict[str, tuple[str, ...]] = {
    "protect": ("psnr_db", "refine", "copy"),
    "locate": ("turned",),
    "recover": ("turned",),
    "fg_jpeg": ("qf",),
}
_FLAGS = ("copy", "turned")
_COUNTS = ("refine",)
_SENT_AS = {"psnr_db": "strength"}

_OUTPUTS = {
    "protect": ("pixels", "result"),
    "locate": ("result",),
    "recover": ("pixels", "uncertainty", "result"),
    "fg_jpeg": ("pixels", "result"),
}

_PARSERS: dict[str, Callable[[Reply], Any]] = {
    "protect": _protected,
    "locate": lambda reply: located_from_json(_facts(reply)["located"]),
    "recover": _recovered,
    "fg_jpeg": lambda reply: Simulated(reply["pixels"], _facts(reply)["timings_ms"]),
}
