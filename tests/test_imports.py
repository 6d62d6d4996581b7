"""What may import what, and what importing costs."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import clr_infer

ROOT = Path(__file__).parent.parent
PACKAGES = {"kernels": ROOT / "kernels", "export": ROOT / "export"}
ALLOWED = {
    "kernels": {"kernels"},
    "networks": {"networks", "kernels", "errors", "specs", "weights"},
    "attacks": {"attacks", "kernels", "geometry", "errors"},
    "runtimes": {
        "runtimes",
        "specs",
        "errors",
        "weights",
        "networks",
        "pixels",
        "device_pixels",
        "engine_files",
        "processor",
    },
    "export": {"export", "specs", "staging", "errors", "weights", "engine_files"},
    "client": {
        "client",
        "errors",
        "image_checks",
        "pixels",
        "results",
        "runtimes",
        "serving",
        "settings",
        "specs",
        "weights",
    },
}
WITHOUT_TORCH = [
    "clr_infer",
    "clr_infer.session",
    "clr_infer.cli",
    "clr_infer.client",
    "clr_infer.demo",
    "clr_infer.serving.embedded",
    "clr_infer.serving.image_models",
]


def _folder(package: str) -> Path:
    return PACKAGES.get(package, ROOT / "clr_infer" / package)


def _imports(path: Path, package: list[str]) -> set[str]:
    """The first name under ``clr_infer`` of everything that a file imports from it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            target = base + (node.module.split(".") if node.module else [])
            names = [target] if len(target) > 1 else [[*target, a.name] for a in node.names]
            found.update(name[1] for name in names)
    return found


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_nothing_imports_upwards(package):
    files = sorted(_folder(package).rglob("*.py"))
    assert files
    for path in files:
        inner = path.relative_to(_folder(package)).parts[:-1]
        used = _imports(path, ["clr_infer", package, *inner])
        assert used <= ALLOWED[package], f"{path} imports {used - ALLOWED[package]}"


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_no_torch_in_the_default_install(module):
    code = f"import sys, {module}; assert 'torch' not in sys.modules, 'torch was imported'"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, clr_infer; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"numpy", "onnxruntime", "PIL", "torch", "scipy", "matplotlib"}


def test_public_names_exist_and_are_all_listed():
    for name in clr_infer.__all__:
        assert getattr(clr_infer, name) is not None
    assert set(clr_infer._HOMES) | {"__version__"} == set(clr_infer.__all__)
    with pytest.raises(AttributeError):
        _ = clr_infer.nothing


def test_every_module_declares_what_it_offers():
    for path in [*(ROOT / "clr_infer").rglob("*.py"), *(ROOT / "kernels").rglob("*.py")]:
        if path.name == "__main__.py":
            continue
        tree = ast.parse(path.read_text("utf-8"))
        assigned = (t for n in tree.body if isinstance(n, ast.Assign) for t in n.targets)
        names = {t.id for t in assigned if isinstance(t, ast.Name)}
        assert "__all__" in names or len(tree.body) <= 1, path


def test_every_listed_name_exists():
    for path in (ROOT / "clr_infer").rglob("*.py"):
        if path.name == "__main__.py":
            continue
        parts = path.relative_to(ROOT).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        module = importlib.import_module(".".join(parts))
        for name in getattr(module, "__all__", []):
            assert hasattr(module, name), f"{module.__name__}.{name}"


def test_no_dumping_grounds_and_no_shadowing_names():
    forbidden = {"utils", "helpers", "common", "onnx", "tensorrt", "torch", "triton"}
    for folder in ("clr_infer", "kernels", "export"):
        for path in (ROOT / folder).rglob("*.py"):
            assert path.stem not in forbidden, path
