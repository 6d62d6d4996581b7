"""What the torch runtime can be told: its name may carry options, as ``torch+compile+bf16``."""

from dataclasses import dataclass
from typing import Any

from ..errors import UsageError

__all__ = ["TorchOptions", "in_16_bits"]

_WORDS = ("compile", "graphs", "channels-last", "bf16", "fp16")


@dataclass(frozen=True)
class TorchOptions:
    """How the networks are run; without any, eagerly and in float32: the reference.

    Attributes:
        compile: by ``torch.compile``; the first call of each network takes up to a minute.
        graphs: from a CUDA graph for each batch size; a GPU only.
        channels_last: with the channels of activations beside each other in memory.
        precision: of learned convolutions and linear layers: ``"fp32"``, ``"bf16"``, ``"fp16"``.
    """

    compile: bool = False
    graphs: bool = False
    channels_last: bool = False
    precision: str = "fp32"

    @classmethod
    def from_name(cls, name: str) -> "TorchOptions":
        """Read the options off a runtime's name.

        Raises:
            UsageError: an option that there is not, one twice, or two precisions.
        """
        words = name.split("+")[1:]
        unknown = [word for word in words if word not in _WORDS]
        if unknown or len(set(words)) < len(words) or {"bf16", "fp16"} <= set(words):
            raise UsageError(
                f"{name!r}: the torch runtime's options are each of +{', +'.join(_WORDS)} once, "
                "and one of the precisions"
            )
        precision = next((word for word in words if word in ("bf16", "fp16")), "fp32")
        return cls("compile" in words, "graphs" in words, "channels-last" in words, precision)


def in_16_bits(network: Any, dtype: Any) -> None:
    """Let a module's learned layers compute in 16 bits; what is between them stays float32.

    Args:
        network: ``nn.Module``, changed in place.
        dtype: ``torch.bfloat16`` or ``torch.float16``.
    """
    from torch import nn

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.to(dtype)
            layer.register_forward_pre_hook(lambda _, given: tuple(x.to(dtype) for x in given))
            layer.register_forward_hook(lambda _, given, made: made.float())
