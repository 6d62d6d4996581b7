import pytest

from clr_infer.attacks.steps import Step, describe, parse_chain
from clr_infer.errors import InputError


def test_a_chain_reads_and_writes_the_same_words():
    text = "crop=0.1,0.2,0.9,0.95 resize=0.5 gaussian=5 median=3 noise=0.02 tone=0.05,1.1 jpeg=80"
    chain = parse_chain(text)
    assert chain[0] == Step("crop", (0.1, 0.2, 0.9, 0.95))
    assert describe(chain) == text
    assert describe(parse_chain("jpeg=80@4:4:4")) == "jpeg=80@4:4:4"
    assert parse_chain("") == ()
    for limits in ("rotate=-2 border=0.1 mirror", "occlude=0.3 webp=80 avif=0"):
        assert describe(parse_chain(limits)) == limits


@pytest.mark.parametrize(
    "text",
    [
        "blur=3",
        "jpeg",
        "jpeg=high",
        "jpeg=0",
        "jpeg=101",
        "jpeg=80@4:1:1",
        "resize=0.5@4:4:4",
        "resize=0",
        "crop=0.1,0.2,0.9",
        "crop=0.9,0.2,0.1,0.5",
        "crop=0,0,1.2,1",
        "gaussian=4",
        "crop=0.1,0.5,0.9,0.5",
        "jpeg=80.5",
        "resize=9",
        "border=-0.1",
        "noise=-1",
        "noise=1.5",
        "tone=0.1",
        "noise=nan",
        "mirror=1",
        "rotate=200",
        "occlude=2",
        "webp=0",
        "avif=101",
    ],
)
def test_bad_words_are_named(text):
    with pytest.raises(InputError, match=text.split("=")[0]):
        parse_chain(text)
