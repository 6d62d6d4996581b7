"""What goes into each network and what comes out: the one source of names, types and shapes.

ONNX names and axes, runtime checks and, later, server configurations are all made from here.
"""

from dataclasses import dataclass
from typing import Any

from .errors import InputError, ModelError

__all__ = [
    "CELL",
    "FRAME_PX",
    "LOCALIZE",
    "PIPELINE_NETWORKS",
    "SPECS",
    "NetworkSpec",
    "TensorSpec",
    "check_inputs",
    "not_finite",
]

CELL = 4
"""Side of a cell in pixels: the networks work on 4x4 pixel cells, not on pixels."""

FRAME_PX = 512
"""Side of the frame that networks run at unless they are made for another: the shipped ones'."""


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of a network.

    Attributes:
        name: its name, everywhere.
        shape: its axes after the batch; ``"size"`` stands for the side of the network's frame,
            ``"cells"`` for that many :data:`CELL` pixels.
        meaning: unit and range, for people.
    """

    name: str
    shape: tuple[int | str, ...]
    meaning: str

    def dims(self, size: int) -> tuple[int, ...]:
        """The axes after the batch for a network of this frame size."""
        sides = {"size": size, "cells": size // CELL}
        return tuple(sides[axis] if isinstance(axis, str) else axis for axis in self.shape)


@dataclass(frozen=True)
class NetworkSpec:
    """The inputs and outputs of a network, all float32 with a dynamic batch axis in front."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def model_name(self) -> str:
        """What the network is called where a server offers it on its own."""
        return f"{self.name}_network"


_FRAME: tuple[int | str, ...] = (3, "size", "size")

_ORIGINAL = TensorSpec("image", _FRAME, "RGB in [0, 1], stretched to the frame")
_RECEIVED = TensorSpec("received", _FRAME, "RGB in [0, 1], the fragment stretched to the frame")
_ALIGNED = TensorSpec("aligned", _FRAME, "RGB, as if without post-processing, not clipped")
_BOX = TensorSpec("crop_box", (4,), "x0, y0, x1, y1 in fractions of the original frame")

PROTECT = NetworkSpec(
    "protect",
    (_ORIGINAL,),
    (TensorSpec("residual", _FRAME, "RGB, to be added, at nominal strength"),),
)
ALIGN = NetworkSpec("align", (_RECEIVED,), (_ALIGNED,))
LOCALIZE = NetworkSpec(
    "localize",
    (_RECEIVED,),
    (
        _BOX,
        TensorSpec("confidence", (), "0 to 1, that the image is protected"),
        TensorSpec("score", (), "log-odds of the box, up to a constant"),
        TensorSpec("skew", (2,), "of columns and rows, over the picture, in its sides"),
    ),
)
RECOVER = NetworkSpec(
    "recover",
    (_ALIGNED, _BOX),
    (
        TensorSpec("recovered", _FRAME, "RGB in [0, 1], the whole original frame"),
        TensorSpec(
            "uncertainty", (1, "cells", "cells"), "standard deviation of its error outside the box"
        ),
    ),
)
FG_JPEG = NetworkSpec(
    "fg_jpeg",
    (
        TensorSpec("image", _FRAME, "RGB in [0, 1]"),
        TensorSpec("qf", (), "JPEG quality factor, 1 to 100, continuous"),
    ),
    (TensorSpec("simulated", _FRAME, "RGB in [0, 1], as JPEG 4:2:0 would leave it"),),
)

PIPELINE_NETWORKS = (PROTECT, ALIGN, LOCALIZE, RECOVER)
SPECS = {spec.name: spec for spec in (*PIPELINE_NETWORKS, FG_JPEG)}


def check_inputs(spec: NetworkSpec, size: int, tensors: dict[str, Any]) -> None:
    """Hold the inputs of a network, arrays of numpy or torch, against its spec.

    Raises:
        InputError: a tensor is missing, unknown, or of the wrong type, shape or batch.
    """
    if set(tensors) != {t.name for t in spec.inputs}:
        raise InputError(f"{spec.name} takes {[t.name for t in spec.inputs]}, not {list(tensors)}")
    batches = set()
    for tensor in spec.inputs:
        value = tensors[tensor.name]
        shape = tuple(value.shape)
        if str(value.dtype).removeprefix("torch.") != "float32":
            raise InputError(f"{spec.name}.{tensor.name} must be float32, not {value.dtype}")
        if shape[1:] != tensor.dims(size) or not shape or shape[0] == 0:
            expected = ("batch", *tensor.dims(size))
            raise InputError(f"{spec.name}.{tensor.name} must be {expected}, not {shape}")
        batches.add(shape[0])
    if len(batches) != 1:
        raise InputError(f"the inputs of {spec.name} have different batch sizes: {sorted(batches)}")


def not_finite(network: str, what: str = "numbers that are not finite") -> ModelError:
    """What to raise where a network gave what nobody can use."""
    return ModelError(
        f"the {network} network gave {what}: its file is damaged, or its precision is too low "
        "(take fp32)"
    )
