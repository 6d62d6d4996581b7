"""What calls send, and what they make of answers."""

import json

import numpy as np
import pytest

from clr_infer.client.calls import encoded_call, parameters, pixels_call
from clr_infer.errors import ImageError, InputError
from clr_infer.settings import DEFAULT_SETTINGS, Settings

PIXELS = np.zeros((40, 50, 3), np.uint8)
LOCATED = {
    "protected": True, "confidence": 0.9, "crop_box": [0.0, 0.0, 1.0, 0.5],
    "box_px": [0, 0, 50, 40], "canvas_px": [50, 80], "picture_px": [0, 0, 50, 40],
    "turn": [False, 0.0], "timings_ms": {},
}  # fmt: skip


def _call(method, image=PIXELS, **options):
    return pixels_call(method, image, DEFAULT_SETTINGS, options)


def _reply(**facts):
    result = np.frombuffer(json.dumps({"timings_ms": {}, **facts}).encode(), np.uint8)
    image = np.frombuffer(b"file", np.uint8)
    uncertainty = np.ones((2, 2), np.float32)
    return {"result": result, "pixels": PIXELS, "image": image, "uncertainty": uncertainty}


def test_options_that_are_off_are_not_sent_for_servers_that_do_not_know_them():
    assert _call("protect", refine=0, copy=False).parameters == {}
    assert _call("recover", turned=False).parameters == {}
    assert _call("recover", turned=True).parameters == {"turned": True}
    call = _call("protect", psnr_db=38, refine=4, copy=True)
    assert call.parameters == {"strength": "38.0", "refine": 4, "copy": True}
    assert (_call("protect").model, call.model) == ("clr_protect", "clr_refine")


def test_what_is_said_of_the_file_is_sent():
    writing = {"format": "jpeg", "quality": None, "strip": False}
    call = encoded_call("protect", PIXELS, DEFAULT_SETTINGS, {"psnr_db": 38.5}, **writing)
    assert call.parameters == {"strength": "38.5", "format": "jpeg", "strip": False}
    call = encoded_call("recover", PIXELS, DEFAULT_SETTINGS, {}, **writing | {"quality": 90})
    assert call.parameters == {"format": "jpeg", "quality": 90, "strip": False}


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("protect", {"refine": 2**31}),
        ("protect", {"refine": -1}),
        ("protect", {"refine": 1.5}),
        ("fg_jpeg", {"qf": 10**400}),
    ],
)
def test_numbers_that_cannot_be_sent_are_input_errors(method, options):
    with pytest.raises(InputError, match="must be a"):
        parameters(method, options)


def test_there_is_room_for_what_comes_back():
    rooms = {method: _call(method).output_bytes for method in ("protect", "locate", "recover")}
    size = PIXELS.nbytes
    assert rooms == {"protect": {"pixels": size}, "locate": {}, "recover": {"pixels": 4 * size}}
    assert _call("protect", b"a file").output_bytes == {}


def test_files_are_bounded():
    settings = Settings(max_file_bytes=10)
    assert pixels_call("locate", bytes(10), settings, {}).inputs["image"].size == 10
    with pytest.raises(ImageError, match="the limit is 10 "):
        pixels_call("locate", bytes(11), settings, {})


def test_of_what_is_not_protected_there_is_no_picture():
    reply = _reply(located={"protected": False, "confidence": 0.1, "timings_ms": {}})
    found = _call("recover").parse(reply)
    assert found.image is None and found.cell_uncertainty is None
    assert not found.located.protected
    assert encoded_call("recover", PIXELS, DEFAULT_SETTINGS, {}).parse(reply).content is None
    protected = encoded_call("protect", PIXELS, DEFAULT_SETTINGS, {}).parse(_reply(psnr_db=40.0))
    assert protected.content == b"file" and protected.facts["psnr_db"] == 40.0


def test_servers_that_say_nothing_of_copies_are_understood():
    found = _call("recover").parse(_reply(located=LOCATED))
    assert not found.from_copy and not found.located.by_copy and found.located.altered_px == ()
    assert found.image is PIXELS and found.located.canvas_px == (50, 80)
    assert _call("protect").parse(_reply(psnr_db=40.0)).copy_psnr_db is None
