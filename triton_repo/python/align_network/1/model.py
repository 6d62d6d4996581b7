"""Model ``align_network`` of Triton server. Written by clr-infer export repository."""

from clr_infer.serving.network_model import NetworkModel as TritonPythonModel

__all__ = ["TritonPythonModel"]
