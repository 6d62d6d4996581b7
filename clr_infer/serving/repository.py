"""A model repository for Triton server: configs, ``model.py`` files and weights."""

from pathlib import Path

from ..errors import OutputError, UsageError
from ..settings import DEFAULT_SETTINGS, Settings
from ..specs import SPECS, NetworkSpec
from ..staging import staged_folders
from ..weights import MANIFEST, SAFETENSORS, Weights
from .config_text import TARGETS, image_config, network_config
from .contract import IMAGE_MODELS, REFINE_MODEL, ImageModelSpec
from .profiles import PROFILES, Profile

__all__ = ["VERSION", "image_models", "repository_texts", "write_repository"]

VERSION = "1"
"""The folder of the one version of each model."""

_MODEL_PY = '''"""Model ``{name}`` of Triton server. Written by clr-infer export repository."""

from clr_infer.serving.{module} import {cls} as TritonPythonModel

__all__ = ["TritonPythonModel"]
'''


def image_models(profile: Profile) -> list[ImageModelSpec]:
    """The image-level models of a repository."""
    return [*IMAGE_MODELS.values(), *([REFINE_MODEL] if profile.refine else [])]


def repository_texts(
    target: str,
    weights: Weights,
    profile: Profile = PROFILES["latency"],
    settings: Settings = DEFAULT_SETTINGS,
) -> dict[str, str]:
    """The text files of a repository, by path.

    Args:
        target: one of :data:`.config_text.TARGETS`; which backend runs the networks.
        weights: whose networks are served.
        profile: batching, instances, queues.
        settings: limits of the images that are taken.

    Raises:
        UsageError: there is no such target.
    """
    if target not in TARGETS:
        raise UsageError(f"there is no target {target!r}; choose one of {', '.join(TARGETS)}")
    texts = {}
    for spec in SPECS.values():
        name = spec.model_name
        texts[f"{name}/config.pbtxt"] = network_config(spec, target, weights, profile)
        if _in_python(spec, target):
            text = _MODEL_PY.format(name=name, module="network_model", cls="NetworkModel")
            texts[f"{name}/{VERSION}/model.py"] = text
    for model in image_models(profile):
        texts[f"{model.name}/config.pbtxt"] = image_config(model, weights, settings, profile)
        text = _MODEL_PY.format(name=model.name, module="image_models", cls="ImageModel")
        texts[f"{model.name}/{VERSION}/model.py"] = text
    return texts


def write_repository(
    folder: Path,
    target: str,
    weights: Weights,
    *,
    profile: Profile = PROFILES["latency"],
    settings: Settings = DEFAULT_SETTINGS,
    engines: Path | None = None,
    with_weights: bool = True,
    force: bool = False,
) -> None:
    """Write a whole repository, or nothing.

    Args:
        folder: created; with ``force`` an earlier repository is replaced.
        target: one of :data:`.config_text.TARGETS`.
        weights: every file of theirs is checked on the way.
        profile: batching, instances, queues.
        settings: limits of the images that are taken.
        engines: for target ``tensorrt``, the folder with one ``NAME.plan`` for each network.
        with_weights: ``False`` leaves the weights and engines out.
        force: replace a folder that is a repository of ours.

    Raises:
        UsageError: an unknown target, or engines that are missing or of no use.
        OutputError: the folder exists, or cannot be written.
        WeightsError: weights are missing or damaged.
    """
    if engines is not None and target != "tensorrt":
        raise UsageError(f"target {target} has no use for engines: they go with tensorrt")
    files = {k: v.encode() for k, v in repository_texts(target, weights, profile, settings).items()}
    if with_weights:
        files.update(_weight_files(target, weights, profile, engines))
    _check_free(folder, force)
    folder = folder.resolve()  # "." has no name to put in place
    taken = folder.exists()  # a repository of ours to replace, or an empty folder
    with staged_folders(folder.parent, [folder.name], force=taken) as staging:
        for name, content in files.items():
            path = staging / folder.name / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def _in_python(spec: NetworkSpec, target: str) -> bool:
    return target == "python" or spec.name == "fg_jpeg"


def _weight_files(
    target: str, weights: Weights, profile: Profile, engines: Path | None
) -> dict[str, bytes]:
    """Every version folder is a folder of weights: a manifest, and what its model reads."""
    manifest = (weights.folder / MANIFEST).read_bytes()
    files = {}
    for spec in SPECS.values():
        folder = f"{spec.model_name}/{VERSION}"
        if target == "tensorrt" and not _in_python(spec, target):
            files[f"{folder}/{spec.name}.plan"] = _engine(spec, engines)
        else:
            names = {weights.graph_name(spec.name)}
            if target == "python" and profile.cpu_runtime == "openvino":
                names.add(weights.graph_name(spec.name, int8=True))
            files |= {f"{folder}/{name}": weights.read(name) for name in names}
        files[f"{folder}/{MANIFEST}"] = manifest
    files[f"{SPECS['fg_jpeg'].model_name}/{VERSION}/{SAFETENSORS}"] = weights.read(SAFETENSORS)
    for model in image_models(profile):
        files[f"{model.name}/{VERSION}/{MANIFEST}"] = manifest
        if model is REFINE_MODEL:
            files[f"{model.name}/{VERSION}/{SAFETENSORS}"] = weights.read(SAFETENSORS)
    return files


def _engine(spec: NetworkSpec, engines: Path | None) -> bytes:
    if engines is None:
        raise UsageError("target tensorrt needs engines: a folder with one NAME.plan per network")
    try:
        return (engines / f"{spec.name}.plan").read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the engine of {spec.name}: {error}") from error


def _check_free(folder: Path, force: bool) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    ours = (folder / IMAGE_MODELS["protect"].name / "config.pbtxt").exists()
    if not force or not ours:
        hint = "--force replaces it" if ours else "and is no repository of ours"
        raise OutputError(f"{folder} exists already ({hint})")
