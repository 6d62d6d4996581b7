"""What the options that choose a server ask the client for."""

import argparse
from pathlib import Path

import pytest

from clr_infer.cli.server_options import TOKEN_VARIABLE, add_server_options, open_client
from clr_infer.errors import UsageError
from clr_infer.settings import Settings

SETTINGS = Settings(max_pixels=12345)


@pytest.fixture
def asked(monkeypatch):
    """Opens what the words ask for; gives what the client was told."""
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    monkeypatch.setattr("clr_infer.client.Client", lambda url, **options: {"url": url, **options})

    def opened(*words, **others):
        parser = argparse.ArgumentParser()
        add_server_options(parser)
        parser.set_defaults(**others)
        return open_client(parser.parse_args(["--url", "grpcs://host:1", *words]), SETTINGS)

    return opened


def test_without_options_a_minute_and_nothing_else(asked):
    assert asked() == {
        "url": "grpcs://host:1", "timeout_s": 60.0, "shared_memory": False, "token": None,
        "tls_ca": None, "tls_cert": None, "headers": {}, "settings": SETTINGS,
    }  # fmt: skip


def test_each_option_reaches_the_client(asked, monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, "secret")
    words = ["--tls-ca", "ca.pem", "--tls-cert", "own.pem", "own.key", "--timeout", "1.5"]
    told = asked(*words, "--header", "X-Team: a:b ", "--header", "X-Other:", "--shared-memory")
    assert told["tls_ca"] == Path("ca.pem") and told["token"] == "secret"
    assert told["tls_cert"] == (Path("own.pem"), Path("own.key")) and told["timeout_s"] == 1.5
    assert told["headers"] == {"X-Team": "a:b", "X-Other": ""} and told["shared_memory"] is True
    assert asked("--cuda-shared-memory")["shared_memory"] == "cuda"


def test_refining_has_ten_minutes_unless_told_otherwise(asked):
    assert asked(refine=4)["timeout_s"] == 600.0 and asked(refine=0)["timeout_s"] == 60.0
    assert asked("--timeout", "5", refine=4)["timeout_s"] == 5.0


@pytest.mark.parametrize(
    "words",
    [("--header", "no colon"), ("--header", " : x"), ("--timeout", "0"), ("--timeout", "nan")],
)
def test_options_that_make_no_sense_are_named(asked, words):
    with pytest.raises(UsageError, match=words[0]):
        asked(*words)
