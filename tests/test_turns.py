"""Fragments that do not lie upright: set upright, located and recovered."""

import numpy as np
import pytest
from PIL import Image

from clr_infer.attacks.real import apply
from clr_infer.attacks.steps import parse_chain
from clr_infer.cli import main
from clr_infer.evaluate.metrics import psnr_of_errors, squared_error
from clr_infer.geometry import UPRIGHT, Box, Turn, box_iou, box_to_pixels
from clr_infer.preprocess import resize_pixels
from clr_infer.turns import SURE, UNSEEN, Look, confidence_among, crookedness, find_turn, upright

BOX = Box(0.1, 0.15, 0.85, 0.9)


@pytest.fixture(scope="module")
def fragment(protected):
    height, width = protected.shape[:2]
    x0, y0, x1, y1 = box_to_pixels(BOX, width, height)
    return protected[y0:y1, x0:x1], Box(x0 / width, y0 / height, x1 / width, y1 / height)


def _attacked(image: np.ndarray, words: str) -> np.ndarray:
    return np.ascontiguousarray(apply(image, parse_chain(words), np.random.default_rng(0)))


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_sides_are_undone_to_the_pixel(raccoon, mirrored, quarters):
    turned = np.rot90(raccoon, -quarters)
    turned = turned[:, ::-1] if mirrored else turned
    found = upright(turned, Turn(mirrored, 90.0 * quarters))
    assert np.array_equal(found, raccoon) and found.flags["C_CONTIGUOUS"]


@pytest.mark.parametrize("degrees", [0.3, -2.0, 5.0, 44.0])
@pytest.mark.parametrize("size", [(300, 200), (200, 300), (250, 250), (400, 60), (60, 400)])
def test_what_is_left_of_a_crooked_picture_is_all_picture(size, degrees):
    white = np.full((size[1], size[0], 3), 255, np.uint8)
    inside = upright(white, Turn(False, degrees))  # rotated, its corners are black
    assert inside.min() > 250
    height, width = inside.shape[:2]
    assert (size[0] - width) % 2 == 0 and (size[1] - height) % 2 == 0  # the centre stays
    if abs(degrees) < 1:
        less, more = sorted((width / size[0], height / size[1]))
        assert less > 0.9 and more > 0.98


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_a_turned_fragment_is_located_as_if_it_were_not(session, fragment, mirrored, quarters):
    image, truth = fragment
    turned = np.rot90(image, -quarters)
    turned = np.ascontiguousarray(turned[:, ::-1] if mirrored else turned)
    located = session.locate(turned, turned=True)
    assert located.protected and located.turn == Turn(mirrored, 90.0 * quarters)
    plain = session.locate(image)
    assert plain.turn == UPRIGHT and box_iou(plain.crop_box, truth) > 0.98
    np.testing.assert_allclose(located.crop_box, plain.crop_box, atol=1e-6)
    assert located.canvas_px == plain.canvas_px
    assert located.picture_px == (0, 0, turned.shape[1], turned.shape[0])


@pytest.mark.parametrize(
    ("words", "turned"),
    [
        ("rotate=-0.6", False),
        ("rotate=0.2", False),
        ("rotate=1.5", False),
        ("rotate=1 jpeg=80", False),
        ("rotate=3.5", True),
        ("rotate=-5", True),
        ("rotate=2 jpeg=80", True),
    ],
)
def test_a_crooked_fragment_is_set_straight_and_recovered(
    session, raccoon, fragment, words, turned
):
    image, truth = fragment
    degrees = parse_chain(words)[0].values[0]
    result = session.recover(_attacked(image, words), turned=turned)
    located = result.located
    assert located.protected and not located.turn.mirrored
    assert abs(located.turn.degrees + degrees) < 0.15
    # What is left lies within the fragment, as far as it could be kept.
    x0, y0, x1, y1 = located.crop_box
    assert np.all(np.array([x0, y0]) > np.array(truth[:2]) - 0.005)
    assert np.all(np.array([x1, y1]) < np.array(truth[2:]) + 0.005)
    assert box_iou(located.crop_box, truth) > 0.8
    assert result.image.shape[:2] == located.mask.shape == result.uncertainty.shape

    def recovered_db(found) -> float:
        whole = resize_pixels(found.image, *raccoon.shape[1::-1])
        error = squared_error(raccoon, whole)
        px = box_to_pixels(truth, *raccoon.shape[1::-1])
        outside = np.ones(error.shape, bool)
        outside[px[1] : px[3], px[0] : px[2]] = False
        return psnr_of_errors(error[outside])

    straight = session.recover(_attacked(image, words.partition(" ")[2]) if " " in words else image)
    assert recovered_db(result) > recovered_db(straight) - 1.0


@pytest.mark.parametrize("words", ["mirror rotate=0.7", "mirror rotate=2.5", "mirror rotate=-4"])
def test_a_mirrored_and_crooked_fragment_is_found(session, fragment, words):
    image, truth = fragment
    located = session.locate(_attacked(image, words), turned=True)
    degrees = parse_chain(words)[1].values[0]
    assert located.protected and located.turn.mirrored
    assert abs(located.turn.degrees - degrees) < 0.15
    assert box_iou(located.crop_box, truth) > 0.8


def test_a_mirrored_fragment_is_not_put_where_it_never_lay(session, raccoon, coffee, rocket):
    seen = 0
    for original in (raccoon, coffee, rocket):
        protected = session.protect(original).image
        for words in ("mirror", "mirror rotate=0.5", "mirror jpeg=80"):
            located = session.locate(_attacked(protected, words))
            if located.protected:  # then it was seen, without being asked for
                seen += 1
                assert located.turn.mirrored and min(located.crop_box[2:]) > 0.95
                assert max(located.crop_box[:2]) < 0.05
    assert seen > 2


def test_upright_fragments_stay_as_they_are(session, fragment):
    image, _ = fragment
    for words in ("", "jpeg=60", "resize=0.5 jpeg=80"):
        received = _attacked(image, words) if words else image
        plain, looked_for = session.locate(received), session.locate(received, turned=True)
        assert plain.turn == UPRIGHT
        assert not looked_for.turn.mirrored and abs(looked_for.turn.degrees) < 0.15
        assert box_iou(plain.crop_box, looked_for.crop_box) > 0.98


def test_unprotected_pictures_stay_unprotected(session, coffee, rocket, raccoon):
    for image in (coffee, rocket, raccoon):
        located = session.locate(image, turned=True)
        assert not located.protected and located.confidence < 0.05


def test_turned_pictures_in_a_batch_are_answered_as_alone(session, fragment, coffee):
    image, _ = fragment
    batch = [image, np.ascontiguousarray(image[::-1]), coffee]
    together = session.recover_batch(batch, turned=True)
    for one, received in zip(together, batch, strict=True):
        alone = session.recover(received, turned=True)
        assert one.located.protected == alone.located.protected
        assert one.located.turn == alone.located.turn
        assert (one.image is None) == (alone.image is None)
        if one.image is not None:
            assert np.abs(one.image.astype(int) - alone.image).max() <= 1


def _look(score: float, degrees: float = 0.0) -> Look:
    return Look(score, float(score > 11.0), degrees)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("best", [-4.87, -1.2, -0.55, 0.05, 0.3, 1.31, 3.0])
@pytest.mark.parametrize("thorough", [False, True])
def test_views_are_followed_to_where_they_say_they_lie_straight(best, mirrored, thorough):
    """With a template that is found to two degrees off, and that says by how much it is off."""

    def look_at(turn: Turn) -> Look:
        off = best - turn.degrees
        if turn.mirrored != mirrored:
            return _look(5.0)
        if abs(off) > 2.0:
            return _look(7.0)
        return _look(7.0 + 100.0 * np.exp(-(off**2) / 0.5), 0.97 * off)

    found = find_turn(look_at(UPRIGHT), look_at, threshold=0.5, thorough=thorough)
    if thorough or (not mirrored and abs(best) < 2.0):
        assert found.turn.mirrored == mirrored and abs(found.turn.degrees - best) < 0.1
        assert found.tried <= 60
        assert (found.turn == UPRIGHT) == (best == 0.05 and not mirrored)
    else:
        assert found.turn == UPRIGHT and found.tried < 3


@pytest.mark.parametrize("score", [20.0, 40.0])
@pytest.mark.parametrize("thorough", [True, False])
def test_no_view_is_looked_at_twice(score, thorough):
    seen = [UPRIGHT]

    def look_at(turn: Turn) -> Look:
        seen.append(turn)
        return _look(score - 5.0, 0.5)

    found = find_turn(_look(score), look_at, threshold=0.5, thorough=thorough)
    assert len(seen) == len(set(seen)) == 1 + found.tried > 1


@pytest.mark.parametrize("degrees", [-3.3, 2.6])
def test_half_a_template_leads_to_the_whole(degrees):
    """The rows of a mirrored picture fit; with the columns turned the other way, all of it does."""
    right, half = Turn(True, degrees), Turn(False, -degrees)

    def look_at(turn: Turn) -> Look:
        for view, score in ((right, 90.0), (half, 20.0)):
            off = view.degrees - turn.degrees
            if turn.mirrored == view.mirrored and abs(off) < 0.45:
                return _look(score * (1.0 - 0.5 * abs(off)), off)
        return _look(6.0 if turn == Turn(False, 90.0) else 4.0)

    found = find_turn(look_at(UPRIGHT), look_at, threshold=0.5, thorough=True)
    assert found.turn.mirrored and abs(found.turn.degrees - degrees) < 1e-6


def test_a_sure_fragment_is_not_looked_for_elsewhere():
    def never(turn: Turn) -> Look:
        raise AssertionError("looked at")

    straight = _look(SURE), _look(SURE, 0.09), _look(5 * SURE, 0.09)
    for first in (*straight, _look(6.0), _look(7.0, -0.3)):
        assert find_turn(first, never, threshold=0.5, thorough=False) == (UPRIGHT, first, 0)


@pytest.mark.parametrize("half", [9.0, 20.0, 48.0])
@pytest.mark.parametrize("degrees", [0.0, 180.0])
def test_where_half_the_template_may_be_it_is_mirrored(half, degrees):
    right = Turn(True, degrees)

    def look_at(turn: Turn) -> Look:
        return _look(90.0 if turn == right else 4.0)

    found = find_turn(_look(half), look_at, threshold=0.5, thorough=False)
    assert found.turn == right and found.tried <= 2


def test_a_reflection_that_is_half_right_is_reflected_again():
    right, half = Turn(False, -5.0), Turn(True, 5.0)

    def look_at(turn: Turn) -> Look:
        for view, score in ((right, 100.0), (half, 36.0)):
            off = view.degrees - turn.degrees
            if turn.mirrored == view.mirrored and 0.0 < abs(off) < 6.0 and view is half:
                return _look(score - 6.0 * abs(off), off)
            if turn.mirrored == view.mirrored and abs(off) < 0.1:
                return _look(score)
        return _look(4.0)

    found = find_turn(_look(9.0), look_at, threshold=0.5, thorough=True)
    assert not found.turn.mirrored and abs(found.turn.degrees + 5.0) < 0.1


def test_nothing_is_looked_at_beyond_a_sure_view():
    def look_at(turn: Turn) -> Look:
        return _look(90.0 if turn == Turn(False, 90.0) else 4.0)

    found = find_turn(_look(4.0), look_at, threshold=0.5, thorough=True)
    assert found.turn == Turn(False, 90.0) and found.tried == 3  # mirrored both ways before


@pytest.mark.parametrize(("first", "others"), [(9.0, 20.0), (40.0, 50.0)])
@pytest.mark.parametrize("thorough", [False, True])
def test_a_view_that_is_a_little_surer_is_not_kept(first, others, thorough):
    found = find_turn(_look(first), lambda turn: _look(others), threshold=0.5, thorough=thorough)
    assert found.turn == UPRIGHT and found.tried > 1


def test_a_view_that_says_too_little_is_followed_further():
    def look_at(turn: Turn) -> Look:
        off = 3.0 - turn.degrees
        return _look(100.0 - 10.0 * abs(off), 0.6 * off)

    found = find_turn(look_at(UPRIGHT), look_at, threshold=0.5, thorough=False)
    assert abs(found.turn.degrees - 3.0) < 0.2 and found.tried <= 5


@pytest.mark.parametrize(("rise", "degrees"), [(1.01, 0.0), (1.05, 1.3)])
def test_resampling_has_to_pay_the_first_time(rise, degrees):
    def look_at(turn: Turn) -> Look:
        return _look(60.0 * rise, 0.3) if turn.degrees < 1.2 else _look(60.5 * rise)

    found = find_turn(_look(60.0, 1.0), look_at, threshold=0.5, thorough=False)
    assert found.turn.degrees == pytest.approx(degrees)


def test_a_view_that_is_no_surer_is_not_kept():
    for score in (0.0, 20.0, 60.0):
        found = find_turn(
            _look(score, 4.5), lambda turn: UNSEEN, threshold=0.5, thorough=score > 0.0
        )
        assert found.turn == UPRIGHT and found.tried > 0


def test_columns_and_rows_have_to_turn_the_same_way():
    tangent = np.tan(np.radians(1.5))
    columns, rows = tangent * 200 / 300, -tangent * 300 / 200
    assert crookedness([columns, rows], 300, 200) == pytest.approx(1.5)
    assert crookedness([-columns, -rows], 300, 200) == pytest.approx(-1.5)
    assert crookedness([columns, -rows], 300, 200) == 0.0  # sheared


def test_odds_are_shared_among_all_views():
    assert confidence_among(0.5, 0) == 0.5 and confidence_among(1.0, 60) == 1.0
    assert confidence_among(0.0, 60) == 0.0
    assert confidence_among(0.9, 8) == pytest.approx(0.5)


def test_the_command_says_how_it_was_turned(tmp_path, capsys, fragment):
    image, _ = fragment
    path = tmp_path / "received.png"
    Image.fromarray(np.rot90(image)).save(path)
    assert main(["locate", str(path), "--turned"]) == 0
    assert "rotated by 270 degrees" in capsys.readouterr().out
    out = tmp_path / "recovered.png"
    assert main(["recover", str(path), "--turned", "-o", str(out), "--json"]) == 0
    assert '"turn": {"mirrored": false, "degrees": 270.0}' in capsys.readouterr().out
    assert Image.open(out).width > Image.open(out).height
