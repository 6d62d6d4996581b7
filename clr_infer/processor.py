"""What this computer's processor is called, and what it can multiply."""

import functools
import platform

__all__ = ["multiplies_bfloat16", "multiplies_int8", "processor_name"]

_INT8 = {"avx512_vnni", "avx_vnni"}
_BFLOAT16 = {"avx512_bf16", "amx_bf16"}


@functools.cache
def _described() -> dict[str, str]:
    """What the system says of the first core: "model name", "flags"; nothing where it does not."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            first = stream.read().partition("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":")[::2] for line in first.splitlines())
    return {name.strip(): value.strip() for name, value in pairs}


def _flags() -> set[str]:
    return set(_described().get("flags", "").split())


def processor_name() -> str:
    """Its name, or its architecture where nothing says more."""
    return _described().get("model name") or platform.processor() or platform.machine()


def multiplies_int8() -> bool:
    """Does it multiply 8-bit integers without saturating in between?

    x86 processors without VNNI add pairs of products in 16 bits, which overflow silently with
    weights that use the whole range. Where nothing says so the answer is no.
    """
    return not _INT8.isdisjoint(_flags())


def multiplies_bfloat16() -> bool:
    """Does it multiply in bfloat16? Where it does not, that is slower than float32."""
    return not _BFLOAT16.isdisjoint(_flags())
