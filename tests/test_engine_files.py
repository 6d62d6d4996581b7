"""Sidecars: what is written is read, and every difference to this machine is named."""

import ctypes
import dataclasses
import hashlib
import importlib
import json
from types import SimpleNamespace

import pytest

from clr_infer.engine_files import (
    Sidecar,
    check_engine,
    device_capability,
    import_flavour,
    platform_name,
)
from clr_infer.errors import EngineMismatch, RuntimeUnavailable, UsageError

PLAN = b"a plan"
SIDECAR = Sidecar(
    network="align",
    flavour="tensorrt",
    version="10.14.1",
    version_compatible=False,
    precision="fp16",
    onnx_sha256="11" * 32,
    plan_sha256=hashlib.sha256(PLAN).hexdigest(),
    plan_bytes=len(PLAN),
    platform=platform_name(),
    compute_capabilities=("8.9",),
    profile={"received": {"min": [1, 3, 8, 8], "opt": [2, 3, 8, 8], "max": [4, 3, 8, 8]}},
    build_s=1.5,
)
HERE = {
    "network": "align",
    "onnx_sha256": "11" * 32,
    "flavour": "tensorrt",
    "version": "10.14.1",
    "capability": "8.9",
}


def test_what_is_written_is_read():
    assert Sidecar.from_json(SIDECAR.to_json()) == SIDECAR
    assert SIDECAR.batch_max == 4
    profile = {**SIDECAR.profile, "crop_box": {"max": [2, 4]}}
    assert dataclasses.replace(SIDECAR, profile=profile).batch_max == 2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        json.dumps({"format": 2}).encode(),
        SIDECAR.to_json().replace(b'"network"', b'"netwerk"'),
        SIDECAR.to_json().replace(b'"format": 1', b'"format": 99'),
    ],
)
def test_strange_sidecars_are_refused(content):
    with pytest.raises(EngineMismatch, match="sidecar"):
        Sidecar.from_json(content)


def test_an_engine_that_fits_passes():
    check_engine(SIDECAR, PLAN, **HERE)
    check_engine(SIDECAR, PLAN, **HERE | {"capability": None})


@pytest.mark.parametrize(
    ("here", "word"),
    [
        ({"network": "protect"}, "engine of align"),
        ({"onnx_sha256": "22" * 32}, "another ONNX file"),
        ({"flavour": "tensorrt-rtx"}, "built by tensorrt,"),
        ({"version": "10.14.2"}, "10.14.1, this is 10.14.2"),
        ({"capability": "9.0"}, "8.9, this GPU has 9.0"),
    ],
)
def test_each_difference_is_named(here, word):
    with pytest.raises(EngineMismatch, match=word):
        check_engine(SIDECAR, PLAN, **HERE | here)


def test_a_changed_plan_or_another_system_is_named_too():
    with pytest.raises(EngineMismatch, match="sha256"):
        check_engine(SIDECAR, PLAN + b"!", **HERE)
    elsewhere = dataclasses.replace(SIDECAR, platform="win32-amd64")
    with pytest.raises(EngineMismatch, match="win32-amd64"):
        check_engine(elsewhere, PLAN, **HERE)


@pytest.mark.parametrize(("version", "fits"), [("10.20.0", True), ("11.0.0", False)])
def test_version_compatible_engines_open_under_one_major_version(version, fits):
    sidecar = dataclasses.replace(SIDECAR, version_compatible=True)
    if fits:
        check_engine(sidecar, PLAN, **HERE | {"version": version})
    else:
        with pytest.raises(EngineMismatch, match=version):
            check_engine(sidecar, PLAN, **HERE | {"version": version})


@pytest.mark.parametrize(
    ("built", "gpu", "fits"),
    [
        (("8.0+",), "8.0", True),
        (("8.0+",), "12.0", True),
        (("8.0+",), "7.5", False),
        (("8.6", "12.0"), "12.0", True),
        (("8.6", "12.0"), "12.1", False),
    ],
)
def test_which_gpus_an_engine_covers(built, gpu, fits):
    sidecar = dataclasses.replace(SIDECAR, compute_capabilities=built)
    if fits:
        check_engine(sidecar, PLAN, **HERE | {"capability": gpu})
    else:
        with pytest.raises(EngineMismatch, match="compute capability"):
            check_engine(sidecar, PLAN, **HERE | {"capability": gpu})


@pytest.mark.parametrize(
    ("codes", "found"),
    [({}, "9.0"), ({"init": 100}, None), ({"device": 101}, None), ({"attribute": 1}, None)],
)
def test_the_driver_is_asked_what_a_gpu_can(monkeypatch, codes, found):
    def attribute(value, number, device):
        value._obj.value = {75: 9, 76: 0}[number]
        return codes.get("attribute", 0)

    driver = SimpleNamespace(
        cuInit=lambda flags: codes.get("init", 0),
        cuDeviceGet=lambda device, index: codes.get("device", 0),
        cuDeviceGetAttribute=attribute,
    )
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    assert device_capability() == found


@pytest.mark.parametrize("error", [ImportError, OSError])
def test_a_library_that_is_missing_or_broken_says_what_to_install(monkeypatch, error):
    def broken(name):
        raise error("libnvinfer.so is missing")

    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(RuntimeUnavailable, match=r"clr_infer\[tensorrt\].*libnvinfer"):
        import_flavour("tensorrt")


def test_unknown_flavours_are_refused():
    with pytest.raises(UsageError, match="tensorrt-rtx"):
        import_flavour("tensorrt-lite")
