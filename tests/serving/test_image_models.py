"""What an image-level model makes of a request, where no server is needed to see it."""

import io
import json
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageCms

from clr_infer.errors import InputError, ServerUnavailable
from clr_infer.geometry import Box
from clr_infer.results import Located, Protected, Recovered
from clr_infer.serving import image_models
from clr_infer.serving.admission import Room
from clr_infer.serving.contract import IMAGE_MODELS, RECOVERED_TIMES, REFINE_MODEL
from clr_infer.serving.image_models import ImageModel, answer
from clr_infer.settings import DEFAULT_SETTINGS

PIXELS = np.full((40, 50, 3), 90, np.uint8)
CODES = ("CANCELLED", "INVALID_ARG", "UNAVAILABLE", "INTERNAL")


class Session:
    """Answers at once, and keeps the options that it is given."""

    settings = DEFAULT_SETTINGS

    def __init__(self, **answers):
        self.answers, self.options = answers, None

    def __getattr__(self, call):
        def answered(pixels, **options):
            self.options = options
            return self.answers[call]

        return answered


def _png(picture, **options):
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", **options)
    return {"image": np.frombuffer(buffer.getvalue(), np.uint8)}


def _asked(call, parameters, wanted=("image",), inputs=None, session=None):
    session = session or Session(protect=Protected(PIXELS, 40.0))
    return answer(session, IMAGE_MODELS[call], inputs or {"pixels": PIXELS}, parameters, {*wanted})


@pytest.mark.parametrize(
    ("call", "parameters", "words"),
    [
        ("protect", {"copy": True, "format": "jpeg"}, "lossless formats"),
        ("protect", {"copy": True, "format": "webp", "quality": 90}, "lossless formats"),
        ("protect", {"copy": "true"}, "'copy' must be true or false"),
        ("protect", {"strip": 1}, "'strip' must be true or false"),
        ("protect", {"strength": "strong"}, "'strength' must be a number"),
        ("protect", {"turned": True}, "no parameter 'turned'"),
        ("protect", {"format": "gif"}, "format"),
        ("protect", {"quality": 50}, "quality"),
        ("recover", {"turned": 1}, "'turned' must be true or false"),
        ("fg_jpeg", {}, "'qf' is missing"),
    ],
)
def test_parameters_are_looked_at_before_the_work(call, parameters, words):
    session = Session()
    with pytest.raises(InputError, match=words):
        _asked(call, parameters, session=session)
    assert session.options is None


def test_the_session_gets_what_the_parameters_say():
    session = Session(protect=Protected(PIXELS, 40.0), locate=None, fg_jpeg=None)
    for call, parameters, options in (
        ("protect", {}, {}),
        ("protect", {"strength": "38.5", "copy": True}, {"psnr_db": 38.5, "copy": True}),
        ("locate", {"turned": True}, {"turned": True}),
        ("fg_jpeg", {"qf": "70"}, {"qf": 70.0}),
    ):
        _asked(call, parameters, wanted=(), session=session)
        assert session.options == options
    told = print
    answer(session, REFINE_MODEL, {"pixels": PIXELS}, {"refine": 4}, set(), told)
    assert session.options == {"refine": 4, "progress": told}


def test_what_was_not_asked_for_is_not_made(monkeypatch):
    monkeypatch.setattr(image_models, "encode_image", None)
    assert set(_asked("protect", {"format": "gif"}, wanted=("pixels", "other"))) == {"pixels"}


def test_of_what_is_not_protected_something_small_comes_back():
    located = Located(False, 0.25, None, None, None, None)
    session = Session(recover=Recovered(None, located))
    wanted = [port.name for port in IMAGE_MODELS["recover"].outputs]
    found = _asked("recover", {}, wanted, session=session)
    result = json.loads(found.pop("result").tobytes())
    assert not result["located"]["protected"] and result["expected_psnr_db"] is None
    assert found.pop("confidence").tolist() == [0.25]
    assert {name: value.shape for name, value in found.items()} == {
        "image": (1,), "pixels": (1, 1, 3), "uncertainty": (1, 1), "crop_box": (4,),
    }  # fmt: skip
    assert not any(value.any() for value in found.values())


@pytest.mark.parametrize("strip", [False, True])
def test_what_a_file_carries_is_kept_unless_it_is_to_be_dropped(strip):
    exif = Image.Exif()
    exif[0x010E] = "a raccoon"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    file = _png(Image.fromarray(PIXELS).convert("RGBA"), exif=exif, icc_profile=profile)
    content = _asked("protect", {"strip": strip}, inputs=file)["image"].tobytes()
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.mode == "RGBA" and (0x010E in picture.getexif()) != strip
        assert ("icc_profile" in picture.info) != strip


def test_alpha_that_a_format_cannot_hold_is_said():
    for mode, format, warnings in (
        ("RGBA", "jpeg", ["JPEG holds no alpha"]),
        ("RGBA", "png", []),
        ("RGB", "jpeg", []),
    ):
        file = _png(Image.fromarray(PIXELS).convert(mode))
        found = _asked("protect", {"format": format}, ("image", "result"), file)
        assert json.loads(found["result"].tobytes())["warnings"] == warnings
    odd = _png(Image.fromarray(PIXELS).convert("RGBA"), icc_profile=b"no profile")
    found = _asked("protect", {"format": "jpeg"}, ("image", "result"), odd)
    first, second = json.loads(found["result"].tobytes())["warnings"]
    assert "profile" in first and "alpha" in second


def test_what_is_recovered_has_no_alpha():
    located = Located(True, 0.9, Box(0.0, 0.0, 1.0, 0.5), (0, 0, 50, 40), (50, 80), None)
    session = Session(recover=Recovered(np.zeros((80, 50, 3), np.uint8), located))
    fragment = _png(Image.fromarray(PIXELS).convert("RGBA"))
    for format in ("png", "jpeg"):
        found = _asked("recover", {"format": format}, ("image", "result"), fragment, session)
        assert not json.loads(found["result"].tobytes())["warnings"]
        with Image.open(io.BytesIO(found["image"].tobytes())) as picture:
            assert picture.mode == "RGB" and picture.size == (50, 80)


class Code(tuple):
    """An error as the backend has it: what it is, and its words."""

    CANCELLED, INVALID_ARG, UNAVAILABLE, INTERNAL = CODES

    def __new__(cls, text, code):
        return super().__new__(cls, (code, text))


class Tensor:
    """An input as the backend hands it over."""

    def __init__(self, name, array):
        self.name, self._array = (lambda: name), array

    def __dlpack__(self, **_):
        return self._array.__dlpack__()

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


class Request:
    """Asks for all of a picture; is cancelled once it was asked after so often."""

    def __init__(self, cancelled_after=99, timeout_us=0):
        self._left, self._timeout_us = cancelled_after, timeout_us

    def inputs(self):
        return [Tensor("pixels", PIXELS.copy())]

    def parameters(self):
        return "{}"

    def requested_output_names(self):
        return ["result"]

    def timeout(self):
        return self._timeout_us

    def is_cancelled(self):
        self._left -= 1
        return self._left < 0


@pytest.fixture
def model(monkeypatch):
    """A model that answers by raising what is set, or with a note of that it worked."""
    made = ImageModel()
    made._backend = SimpleNamespace(TritonError=Code, InferenceResponse=lambda error: error)
    made._spec, made._session = IMAGE_MODELS["locate"], None
    made._room = Room(PIXELS.shape[0] * PIXELS.shape[1])
    made.error = RuntimeError("worked on")

    def work(*given):
        go_on = given[-1]
        go_on(1)
        raise made.error

    monkeypatch.setattr(image_models, "answer", work)
    return made


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("no"), "INVALID_ARG"),
        (ServerUnavailable("no"), "UNAVAILABLE"),
        (MemoryError(), "UNAVAILABLE"),
        (KeyError("no"), "INTERNAL"),
    ],
)
def test_each_failure_has_its_code(model, error, code):
    model.error = error
    found, text = model._respond(Request(), time.monotonic())
    assert found == code and text


def test_what_nobody_waits_for_any_more_waits_for_no_room(model):
    late = time.monotonic() - 1.0
    with ThreadPoolExecutor(1) as pool, model._room.taken(PIXELS.size):  # all of it
        for gone in (Request(cancelled_after=0), Request(timeout_us=900_000)):
            assert pool.submit(model._respond, gone, late).result(5)[0] == "CANCELLED"


def test_what_is_given_up_later_is_not_worked_on_any_more(model):
    for times in (1, 2):  # before the work, and during it
        gone = Request(cancelled_after=times)
        assert model._respond(gone, time.monotonic())[0] == "CANCELLED"
    for timeout_us in (0, 60_000_000):
        found = model._respond(Request(timeout_us=timeout_us), time.monotonic() - 1.0)
        assert found == ("INTERNAL", "RuntimeError: worked on")


def test_an_original_has_room_of_its_own():
    size = PIXELS.shape[0] * PIXELS.shape[1]
    inputs = {"pixels": PIXELS}
    assert image_models._pixels(IMAGE_MODELS["locate"], inputs, {}) == size
    assert image_models._pixels(IMAGE_MODELS["recover"], inputs, {}) == RECOVERED_TIMES * size
    file = _png(Image.new("RGB", (70, 60)))
    assert image_models._pixels(IMAGE_MODELS["protect"], file, {}) == 70 * 60
