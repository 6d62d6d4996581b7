"""What a result of the kernel suite must hold."""

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["check_result"]

_NUMBER = (int, float)
_TIMES = {"p10_ms": _NUMBER, "p50_ms": _NUMBER, "p90_ms": _NUMBER, "runs": int}
_RESULT = {
    "kind": str,
    "rehearsal": bool,
    "commit": (str, type(None)),
    "command": str,
    "environment": dict,
    "peers": dict,
    "plan": dict,
    "cpu": (dict, type(None)),
    "gpu": (dict, type(None)),
    "goals": dict,
}
_CPU = {
    "setting": dict,
    "load_before": _NUMBER,
    "memory_kept": bool,
    "times": list,
    "exactness": list,
}
_CPU_TIME = {"contestant": str, "mode": str, "threads": int, **_TIMES}
_EXACTNESS = {
    "contestant": str,
    "qf": int,
    "subsampling": str,
    "pixels_equal": _NUMBER,
    "values_equal": _NUMBER,
    "psnr_db": (*_NUMBER, type(None)),
}
_GPU_ROW = {
    "op": str,
    "variant": str,
    "mode": str,
    "batch": int,
    "size_px": int,
    "contestant": str,
    "launch": str,
}


def check_result(result: Mapping[str, Any]) -> None:
    """Refuse a result that is not whole.

    Raises:
        ValueError: a key is missing or of a wrong type, or percentiles are out of order; the
            message says where.
    """
    _check("result", result, _RESULT)
    if result["kind"] != "kernels":
        raise ValueError(f"kind is {result['kind']!r}, not 'kernels'")
    cpu, gpu = result["cpu"], result["gpu"]
    if cpu is not None:
        _check("cpu", cpu, _CPU)
        _check_all("cpu.times", cpu["times"], _CPU_TIME)
        _check_all("cpu.exactness", cpu["exactness"], _EXACTNESS)
    if gpu is not None:
        _check("gpu", gpu, {"device": dict, "copy": dict, "empty_graph": dict, "rows": list})
        _check("gpu.copy", gpu["copy"], {"bytes": int, "bytes_per_s": _NUMBER, **_TIMES})
        measured = [row for row in gpu["rows"] if "error" not in row]
        _check_all("gpu.rows", gpu["rows"], _GPU_ROW)
        _check_all("gpu.rows", measured, _TIMES)


def _check_all(where: str, rows: Iterable[Mapping[str, Any]], needed: Mapping[str, Any]) -> None:
    for index, row in enumerate(rows):
        _check(f"{where}[{index}]", row, needed)


def _check(where: str, found: Mapping[str, Any], needed: Mapping[str, Any]) -> None:
    for key, kind in needed.items():
        if key not in found:
            raise ValueError(f"{where} has no {key!r}")
        if not isinstance(found[key], kind):
            raise ValueError(f"{where}.{key} is {found[key]!r}")
    if "p50_ms" in needed and not 0 < found["p10_ms"] <= found["p50_ms"] <= found["p90_ms"]:
        raise ValueError(f"{where} has percentiles that are not in order")
