"""Model ``clr_locate`` of Triton server. Written by clr-infer export repository."""

from clr_infer.serving.image_models import ImageModel as TritonPythonModel

__all__ = ["TritonPythonModel"]
