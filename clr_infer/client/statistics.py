"""The server's own statistics, one line a model."""

from typing import Any

__all__ = ["model_statistics"]

_PARTS = ("queue", "compute_input", "compute_infer", "compute_output", "success", "fail")


def model_statistics(answer: Any) -> dict[str, dict[str, float]]:
    """Boil statistics down.

    Args:
        answer: of tritonclient's ``get_inference_statistics``, by gRPC or by HTTP.

    Returns:
        By model: ``requests``, ``executions`` (of batches of requests), and for each of queue,
        compute_input, compute_infer, compute_output, success and fail the number of requests
        ``NAME_count`` and their total time ``NAME_ms``.
    """
    if not isinstance(answer, dict):
        from google.protobuf.json_format import MessageToDict

        answer = MessageToDict(answer, preserving_proto_field_name=True)
    found = {}
    for model in answer.get("model_stats", []):
        parts = model.get("inference_stats", {})
        line = {
            "requests": float(model.get("inference_count", 0)),
            "executions": float(model.get("execution_count", 0)),
        }
        for name in _PARTS:
            line[f"{name}_count"] = float(parts.get(name, {}).get("count", 0))
            line[f"{name}_ms"] = float(parts.get(name, {}).get("ns", 0)) / 1e6
        found[model["name"]] = line
    return found
