"""A folder of weights is replaced as a whole, and nothing else in it."""

import json
import os

import pytest
from clr_infer.export import write_weights

from clr_infer.errors import OutputError
from clr_infer.networks.served import load_served
from clr_infer.weights import MANIFEST, SAFETENSORS, Weights


@pytest.fixture(scope="module")
def networks():
    return load_served(Weights())


def _facts(steps):
    return {k: v for k, v in Weights().manifest.items() if k != "files"} | {"steps": steps}


def _write(folder, networks, steps):
    write_weights(folder, networks, _facts(steps), None)


def test_a_new_folder_appears_whole_and_is_replaced(networks, tmp_path):
    folder = tmp_path / "deep" / "weights"
    for steps in (1, 2):
        _write(folder, networks, steps)
        weights = Weights(folder)
        assert weights.manifest["steps"] == steps and weights.read(SAFETENSORS)
        assert {path.name for path in folder.iterdir()} == {MANIFEST, SAFETENSORS}
    assert [path.name for path in folder.parent.iterdir()] == ["weights"]


def test_what_is_no_weights_stays(networks, tmp_path, monkeypatch):
    """Also where the folder is the one that the command runs in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "MODEL_CARD.md").write_text("card")
    (tmp_path / "more").mkdir()
    for steps in (1, 2):
        _write(type(tmp_path)("."), networks, steps)
    assert (tmp_path / "MODEL_CARD.md").read_text() == "card"
    names = {"MODEL_CARD.md", "more", MANIFEST, SAFETENSORS}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert Weights(".").manifest["steps"] == 2


@pytest.mark.parametrize("kind", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize("at", range(4))
def test_an_interruption_leaves_the_old_weights(networks, tmp_path, monkeypatch, at, kind):
    _write(tmp_path, networks, 1)
    (tmp_path / "MODEL_CARD.md").write_text("card")
    other = load_served(Weights())
    next(other.parameters()).data += 1.0
    calls = []

    def interrupted(move):
        def call(source, target):
            calls.append(source)
            if len(calls) == at + 1:
                raise kind
            move(source, target)

        return call

    for name in ("rename", "replace"):
        monkeypatch.setattr(os, name, interrupted(getattr(os, name)))
    with pytest.raises(OutputError if kind is OSError else kind):
        _write(tmp_path, other, 2)
    weights = Weights(tmp_path)
    assert weights.manifest["steps"] == 1 and weights.read(SAFETENSORS)
    names = {"MODEL_CARD.md", MANIFEST, SAFETENSORS}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_the_manifest_is_the_last_to_take_its_place(networks, tmp_path, monkeypatch):
    _write(tmp_path, networks, 1)
    order, rename = [], os.rename
    monkeypatch.setattr(os, "rename", lambda *pair: (order.append(pair[1]), rename(*pair)))
    _write(tmp_path, networks, 2)
    assert order[-1] == tmp_path / MANIFEST
    assert json.loads((tmp_path / MANIFEST).read_text("utf-8"))["steps"] == 2
