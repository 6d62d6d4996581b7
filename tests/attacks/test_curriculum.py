"""What a batch undergoes together is drawn as what one image undergoes alone."""

import numpy as np
import pytest

from clr_infer.attacks import curriculum
from clr_infer.attacks.curriculum import draw_alike, draw_attack, draw_halved


def _qualities(attacks) -> list[float]:
    return [step.values[0] for a in attacks for step in a.after if step.name == "jpeg"]


@pytest.mark.parametrize("share", ["_HALVED_SHARE", "_HARDEST_SHARE"])
def test_companions_are_saved_at_the_qualities_of_the_first(share, monkeypatch):
    """What is halved or hardest is saved at better qualities than the rest."""
    for name in ("_PLAIN_SHARE", "_HALVED_SHARE", "_HARDEST_SHARE"):
        monkeypatch.setattr(curriculum, name, float(name == share))
    rng = np.random.default_rng(0)
    groups = [draw_alike(rng, 1.0, 8) for _ in range(60)]
    firsts = _qualities(group[0] for group in groups)
    others = _qualities(attack for group in groups for attack in group[1:])
    least = min(chain[1].values[0] for chain in (draw_halved(rng) for _ in range(500)))
    assert len(others) == 7 * len(firsts) > 100
    assert min(others) >= least > 65
    assert np.mean(others) == pytest.approx(np.mean(firsts), abs=3)


def test_a_mix_in_groups_is_saved_at_the_qualities_of_a_mix_one_by_one():
    rng = np.random.default_rng(0)
    groups = [draw_alike(rng, 1.0, 8) for _ in range(3000)]
    alone = np.sort(_qualities(group[0] for group in groups))
    companions = _qualities(attack for group in groups for attack in group[1:])
    for quality in (60, 70, 80, 90):
        share = np.mean(alone < quality)
        assert np.mean(np.array(companions) < quality) == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("hardness", [0.3, 0.5])
def test_filters_are_as_strong_as_the_training_is_hard(hardness):
    rng = np.random.default_rng(0)
    drawn = [step for _ in range(3000) for step in draw_attack(rng, hardness).after]
    noise, factors = ([s.values[0] for s in drawn if s.name == n] for n in ("noise", "resize"))
    assert 0.8 < max(noise) / (0.04 * hardness) <= 1.0
    assert -1.0 <= (min(factors) - 1.0) / (0.5 * hardness) < -0.8
    assert 0.8 < (max(factors) - 1.0) / (0.5 * hardness) <= 1.0


def test_groups_at_any_hardness_keep_to_their_own_range():
    rng = np.random.default_rng(0)
    for hardness in np.linspace(0.0, 1.0, 11):
        for _ in range(60):
            group = draw_alike(rng, float(hardness), 3)
            assert len({attack.qf_min for attack in group}) == 1
            assert all(quality >= group[0].qf_min for quality in _qualities(group))


def test_groups_share_crop_size_filters_and_subsampling():
    rng = np.random.default_rng(0)
    for _ in range(200):
        group = draw_alike(rng, 1.0, 3)
        boxes = np.array([attack.crop.values for attack in group])
        assert (boxes >= 0).all() and (boxes <= 1 + 1e-12).all()
        np.testing.assert_allclose(boxes[:, 2:] - boxes[:, :2], [boxes[0, 2:] - boxes[0, :2]] * 3)
        kinds = {tuple((s.name, s.subsampling) for s in (*a.before, *a.after)) for a in group}
        assert len(kinds) == 1


def test_the_best_and_the_worst_quality_are_drawn_too():
    rng = np.random.default_rng(0)
    drawn = [attack for _ in range(800) for attack in draw_alike(rng, 1.0, 4)]
    before = [step.values[0] for attack in drawn for step in attack.before]
    after = _qualities(drawn)
    assert (min(before), max(before), min(after), max(after)) == (70, 96, 50, 96)


def test_images_that_are_only_cropped_come_with_hardness(monkeypatch):
    monkeypatch.setattr(curriculum, "_PLAIN_SHARE", 1.0)
    rng = np.random.default_rng(0)
    half, whole = ([draw_attack(rng, hardness) for _ in range(50)] for hardness in (0.5, 1.0))
    assert any(a.before or a.after for a in half)
    assert not any(a.before or a.after for a in whole)


def test_what_is_drawn_at_all_grows_with_hardness():
    """At none, images are cropped and nothing else."""
    shares = []
    for hardness in (0.0, 0.5, 1.0):
        rng = np.random.default_rng(0)
        drawn = [draw_attack(rng, hardness) for _ in range(2000)]
        tone = [s.values for a in drawn for s in a.after if s.name == "tone"]
        for offset, factor in tone:
            assert abs(offset) <= 0.1 * hardness and abs(factor - 1.0) <= 0.15 * hardness + 1e-9
        medians = [s.values[0] == 5 for a in drawn for s in a.after if s.name == "median"]
        befores = np.mean([bool(a.before) for a in drawn])
        afters = np.mean([bool(a.after) for a in drawn])
        shares.append((befores, afters, np.mean(medians) if medians else 0.0))
    none, half, whole = np.array(shares)
    assert not none.any() and (half > 0).all() and (whole > 1.2 * half).all()
