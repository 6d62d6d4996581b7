"""Every Triton kernel compiled for both architectures, without a GPU."""

import importlib

import pytest
from clr_infer.kernels.aot import ARCHS, KERNEL_MODULES, Launch, compile_report, registry
from clr_infer.kernels.dispatch import KernelUnavailable
from clr_infer.kernels.language import HAS_TRITON

from .compiled import compiled

pytestmark = pytest.mark.skipif(not HAS_TRITON, reason="triton is not installed")


@pytest.fixture(scope="module")
def reports():
    return compiled("-m", "clr_infer.kernels.aot")


@pytest.mark.parametrize("name", sorted(registry()))
@pytest.mark.parametrize("arch", ARCHS)
def test_kernels_fit_in_their_registers(name, arch, reports):
    report = reports[name][f"sm_{arch}"]
    assert report["spills"] == 0 and report["stack_bytes"] == 0
    assert 0 < report["registers"] <= 255
    assert report["shared_bytes"] <= 48 * 1024
    assert report["global_loads"] > 0 and report["global_stores"] > 0


def test_every_kernel_is_registered():
    for module in KERNEL_MODULES:
        members = vars(importlib.import_module(f"clr_infer.kernels.{module}"))
        declared = {id(value) for name, value in members.items() if name.endswith("_kernel")}
        assert declared == {id(launch.kernel) for launch in members["LAUNCHES"].values()}


def test_spills_and_barriers_are_seen():
    """A kernel that is denied registers spills; one whose warps add up waits for them."""
    code = """
import json
from dataclasses import replace
from clr_infer.kernels.aot import compile_report, registry
kernel = registry()["merge.power"]
starved = replace(kernel, constants={"ROWS": 16, "COLS": 256}, options={"maxnreg": 24})
print(json.dumps([compile_report(kernel, 90), compile_report(starved, 90)]))
"""
    kernel, starved = compiled("-c", code)
    assert kernel["barriers"] > 0 and kernel["shared_bytes"] > 0
    assert starved["spills"] > 0 and starved["stack_bytes"] > 0


def test_kernels_compile_where_every_size_is_one():
    """Triton makes constants of arguments that are 1: a kernel of its own, met on 1x1 images."""
    code = """
import json
from dataclasses import replace
from clr_infer.kernels.aot import registry, report_all
small = {}
for name, launch in registry().items():
    fixed = {*launch.constants, *launch.multiples_of_16, *launch.kernel.do_not_specialize}
    sizes = {a: 1 for a, kind in launch.types.items() if kind == "i32" and a not in fixed}
    small[name] = replace(launch, constants={**launch.constants, **sizes})
print(json.dumps(report_all(small, [90])))
"""
    reports = compiled("-c", code)
    assert set(reports) == set(registry())
    assert all(report["sm_90"]["spills"] == 0 for report in reports.values())


def test_interpreted_kernels_cannot_be_compiled():
    with pytest.raises(KernelUnavailable, match="TRITON_INTERPRET"):
        compile_report(Launch(lambda: None, {}), 90)
