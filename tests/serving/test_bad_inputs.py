"""Everything bad that a request can hold: its own error, INVALID_ARGUMENT, and nobody else's."""

import concurrent.futures
import io

import numpy as np
import pytest
from PIL import Image

from clr_infer.client import Client
from clr_infer.client.calls import Call
from clr_infer.errors import ImageError, InputError, ModelNotServed, RequestRefused
from clr_infer.samples import SAMPLE
from clr_infer.specs import FRAME_PX

triton = pytest.importorskip("tritonclient.grpc")
InferenceServerException = pytest.importorskip("tritonclient.utils").InferenceServerException


def _animation():
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (64, 64), c) for c in ("red", "blue")]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def _png(width, height):
    buffer = io.BytesIO()
    Image.new("L", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def _encoded(picture, format, **options):
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


BAD_FILES = {
    "text": b"this is no picture",
    "cut off": SAMPLE.read_bytes()[:2000],
    "header only": SAMPLE.read_bytes()[:20],
    "1x1": _png(1, 1),
    "too long": _png(2000, 40),
    "bomb": _png(20000, 20000),
    "100 megapixels": _png(10000, 10000),
    "16-bit colour": b"P6 64 64 65535\n" + bytes(64 * 64 * 6),
    "animation": _animation(),
}


@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_bad_images_are_errors_of_their_own_request(serving, session, transport):
    from clr_infer.image_io import read_image

    with Client(serving.urls[transport]) as client:
        outcomes = dict(client.stream("locate", [*BAD_FILES.values(), SAMPLE.read_bytes()]))
    for index, (name, content) in enumerate(BAD_FILES.items()):
        with pytest.raises(ImageError) as expected:
            read_image(content)
        assert type(outcomes[index]) is ImageError, name
        assert str(outcomes[index]) == str(expected.value)
    assert not outcomes[len(BAD_FILES)].protected


def _odd_files():
    photo = Image.open(SAMPLE).convert("RGB").resize((96, 80))
    alpha = Image.linear_gradient("L").resize(photo.size)
    turned = Image.Exif()
    turned[0x0112] = 6
    return {
        "CMYK": _encoded(photo.convert("CMYK"), "JPEG"),
        "gray": _encoded(photo.convert("L"), "JPEG"),
        "palette": _encoded(photo.quantize(16), "PNG"),
        "alpha": _encoded(Image.merge("RGBA", (*photo.split(), alpha)), "PNG"),
        "16-bit gray": _encoded(Image.fromarray(np.full((80, 96), 40_000, np.uint16)), "PNG"),
        "turned": _encoded(photo, "JPEG", exif=turned),
        "corrupt profile": _encoded(photo, "PNG", icc_profile=b"no profile"),
    }


@pytest.mark.parametrize("name", sorted(_odd_files()))
def test_odd_files_are_read_as_in_process(client, session, name):
    from clr_infer.image_io import read_image

    content = _odd_files()[name]
    here = read_image(content)
    np.testing.assert_array_equal(client.protect(content).image, session.protect(here.pixels).image)
    facts = client.protect_encoded(content).facts
    assert facts["warnings"] == list(here.warnings)


def test_what_a_format_cannot_hold_is_said(client):
    content = _odd_files()["alpha"]
    assert client.protect_encoded(content, format="jpeg").facts["warnings"] == [
        "JPEG holds no alpha"
    ]
    with pytest.raises(InputError, match="format must be"):
        client.protect_encoded(content, format="gif")


@pytest.mark.parametrize(
    ("name", "values", "word"),
    [
        ("pixels", np.zeros((40, 40, 4), np.uint8), "shape"),
        ("pixels", np.zeros((40, 40), np.uint8), "shape|dims"),
        ("pixels", np.zeros((0, 40, 3), np.uint8), "ImageError|byte size"),
        ("pixels", np.zeros((4, 40, 3), np.uint8), "ImageError"),
        ("pixels", np.zeros((40, 40, 3), np.float32), "data-type|type"),
        ("image", np.zeros(0, np.uint8), "ImageError|byte size"),
        ("picture", np.zeros(9, np.uint8), "picture"),
    ],
)
def test_image_models_refuse_what_does_not_fit(serving, client, photo, name, values, word):
    kind = "FP32" if values.dtype == np.float32 else "UINT8"
    tensor = triton.InferInput(name, list(values.shape), kind).set_data_from_numpy(values)
    with triton.InferenceServerClient(serving.urls["grpc"].removeprefix("grpc://")) as raw:
        with pytest.raises(InferenceServerException, match=word) as refused:
            raw.infer("clr_protect", [tensor], client_timeout=20)
        assert refused.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert not client.locate(photo).protected


@pytest.mark.parametrize(
    "parameters",
    [
        {"strength": "strong"},
        {"strength": "nan"},
        {"frame": "first"},
        {"quality": "90"},
        {"strip": "true"},
        {"copy": 1},
    ],
)
def test_parameters_of_the_wrong_kind_are_errors(client, photo, parameters):
    call = Call("clr_protect", {"pixels": photo}, ("image",), dict, parameters)
    if "frame" in parameters:
        content = np.frombuffer(_animation(), np.uint8)
        call = Call("clr_protect", {"image": content}, ("image",), dict, parameters)
    with pytest.raises(InputError):
        client.call(call)


def test_one_picture_of_an_animation_can_be_chosen(client, session):
    content = np.frombuffer(_animation(), np.uint8)
    call = Call("clr_protect", {"image": content}, ("pixels",), dict, {"frame": 1})
    blue = np.zeros((64, 64, 3), np.uint8) + np.array([0, 0, 255], np.uint8)
    np.testing.assert_array_equal(client.call(call)["pixels"], session.protect(blue).image)


def test_bad_options_are_errors(client, photo):
    with pytest.raises(InputError, match="between 30 and 50"):
        client.protect(photo, psnr_db=10)
    with pytest.raises(InputError, match="between 1 and 100"):
        client.fg_jpeg(photo, float("nan"))
    with pytest.raises(InputError, match="format"):
        client.protect_encoded(photo, format="gif")
    with pytest.raises(InputError, match="quality"):
        client.protect_encoded(photo, format="png", quality=50)


@pytest.mark.parametrize(
    ("name", "shape", "kind", "word"),
    [
        ("received", (1, 3, FRAME_PX, FRAME_PX), np.nan, "NaN"),
        ("received", (0, 3, FRAME_PX, FRAME_PX), 0.0, "byte size"),
        ("received", (9, 3, FRAME_PX, FRAME_PX), 0.0, "batch"),
        ("received", (1, 3, FRAME_PX, 0), 0.0, "shape"),
        ("received", (3, FRAME_PX, FRAME_PX), 0.0, "shape|dims"),
        ("received", (1, 3, FRAME_PX // 2, FRAME_PX), 0.0, "shape"),
        ("picture", (1, 3, FRAME_PX, FRAME_PX), 0.0, "picture"),
    ],
)
def test_network_models_refuse_what_does_not_fit(serving, name, shape, kind, word):
    values = np.full(shape, kind, np.float32)
    tensor = triton.InferInput(name, list(shape), "FP32").set_data_from_numpy(values)
    with triton.InferenceServerClient(serving.urls["grpc"].removeprefix("grpc://")) as raw:
        with pytest.raises(InferenceServerException, match=word) as refused:
            raw.infer("localize_network", [tensor], client_timeout=20)
        assert refused.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_one_bad_request_never_fails_its_batch(serving):
    good = np.zeros((1, 3, FRAME_PX, FRAME_PX), np.float32)
    bad = np.full_like(good, np.inf)
    address = serving.urls["grpc"].removeprefix("grpc://")

    def ask(values):
        tensor = triton.InferInput("received", list(values.shape), "FP32")
        with triton.InferenceServerClient(address) as raw:
            try:
                answer = raw.infer("localize_network", [tensor.set_data_from_numpy(values)])
                return answer.as_numpy("confidence").shape
            except InferenceServerException as error:
                return error.status()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(ask, [good, bad] * 4))
    assert outcomes == [(1, 1), "StatusCode.INVALID_ARGUMENT"] * 4


def test_neither_image_nor_pixels_or_both_is_refused(serving, photo):
    content = np.frombuffer(SAMPLE.read_bytes(), np.uint8)
    image = triton.InferInput("image", [content.size], "UINT8").set_data_from_numpy(content)
    pixels = triton.InferInput("pixels", list(photo.shape), "UINT8").set_data_from_numpy(photo)
    with triton.InferenceServerClient(serving.urls["grpc"].removeprefix("grpc://")) as raw:
        for inputs, words in (([], "InputError"), ([image, pixels], "either .* or pixels")):
            with pytest.raises(InferenceServerException, match=words) as refused:
                raw.infer("clr_locate", inputs, client_timeout=20)
            assert refused.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_unknown_models_and_parameters(client, photo):
    inputs = {"pixels": photo}
    with pytest.raises(ModelNotServed, match="clr_nothing"):
        client.call(Call("clr_nothing", inputs, ("result",), dict))
    with pytest.raises(InputError, match="sideways"):
        client.call(Call("clr_locate", inputs, ("result",), dict, {"sideways": "1"}))
    with pytest.raises(RequestRefused):
        client.call(Call("clr_locate", inputs, ("nothing",), dict))
