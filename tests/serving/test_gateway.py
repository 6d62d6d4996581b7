"""TLS, client certificates and tokens: the real server behind a gateway that wants them."""

import asyncio
import ssl
import subprocess
import threading
from contextlib import contextmanager

import numpy as np
import pytest

from clr_infer.cli import main
from clr_infer.client import Client
from clr_infer.errors import AccessDenied, ServerError

TOKEN = "open-sesame"


def _openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """An authority, and what it signed for a server called localhost and for a client."""
    folder = tmp_path_factory.mktemp("certificates")
    made = {"ca": folder / "ca.pem"}
    key = ("-newkey", "rsa:2048", "-nodes", "-days", "2")
    _openssl(
        *("req", "-x509", *key, "-keyout", folder / "ca.key", "-out", made["ca"]),
        *("-subj", "/CN=test authority", "-addext", "keyUsage=critical,keyCertSign"),
    )
    for name in ("localhost", "client"):
        made[name] = (folder / f"{name}.pem", folder / f"{name}.key")
        _openssl(
            *("req", "-x509", *key, "-keyout", made[name][1], "-out", made[name][0]),
            *("-CA", made["ca"], "-CAkey", folder / "ca.key", "-subj", f"/CN={name}"),
            *("-addext", f"subjectAltName=DNS:{name}", "-addext", "basicConstraints=CA:FALSE"),
        )
    return made


@contextmanager
def _gateway(certificates, port, *, http):
    """Takes TLS from clients with a certificate; by HTTP it wants the token as well."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates["ca"])
    context.load_cert_chain(*certificates["localhost"])
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["http/1.1"] if http else ["h2"])

    async def pump(reader, writer, check):
        while block := await reader.read(1 << 16):
            if check and block.startswith((b"GET ", b"POST ")):
                head = block.split(b"\r\n\r\n")[0].lower()
                if f"authorization: bearer {TOKEN}".encode() not in head:
                    return b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
            writer.write(block)
            await writer.drain()
        return b""

    async def serve(reader, writer):
        there, back = await asyncio.open_connection("127.0.0.1", port)
        answers = asyncio.create_task(pump(there, writer, False))
        try:
            writer.write(await pump(reader, back, http))
            await writer.drain()
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            answers.cancel()
            back.close()
            writer.close()

    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    starting = asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    server = asyncio.run_coroutine_threadsafe(starting, loop).result()
    yield f"localhost:{server.sockets[0].getsockname()[1]}"
    loop.call_soon_threadsafe(loop.stop)


@pytest.fixture(scope="module", params=["grpcs", "https"])
def secured(request, serving, certificates):
    plain = serving.urls["http" if request.param == "https" else "grpc"]
    port = int(plain.rsplit(":", 1)[1])
    with _gateway(certificates, port, http=request.param == "https") as address:
        yield f"{request.param}://{address}"


def test_certificates_and_token_open_the_gateway(secured, certificates, session, fragment):
    options = {"tls_ca": certificates["ca"], "tls_cert": certificates["client"]}
    with Client(secured, token=TOKEN, **options) as client:
        for _ in range(2):
            found = client.recover(fragment)
            np.testing.assert_array_equal(found.image, session.recover(fragment).image)
        assert client.health()["ready"]


def test_without_the_authority_or_a_certificate_nobody_gets_in(secured, certificates, photo):
    for options in (
        {"tls_cert": certificates["client"]},
        {"tls_ca": certificates["ca"]},
    ):
        with Client(secured, token=TOKEN, timeout_s=2.0, **options) as client:
            with pytest.raises(ServerError):
                client.locate(photo)


@pytest.mark.parametrize("secured", ["https"], indirect=True)  # it reads no HTTP/2
def test_a_wrong_token_is_denied_at_once(secured, certificates, photo):
    options = {"tls_ca": certificates["ca"], "tls_cert": certificates["client"]}
    with Client(secured, token="wrong", **options) as client:
        with pytest.raises(AccessDenied):
            client.locate(photo)


def test_the_command_line_takes_certificates_and_a_token(
    secured, certificates, monkeypatch, capsys
):
    monkeypatch.setenv("CLR_INFER_TOKEN", TOKEN)
    words = ["health", "--url", secured, "--tls-ca", str(certificates["ca"])]
    assert main([*words, "--tls-cert", *map(str, certificates["client"])]) == 0
    assert main([*words, "--timeout", "2"]) == 4
    assert main([*words, "--tls-cert", "/nowhere.pem", "/nowhere.key"]) == 2
    assert main([*words, "--header", "no colon"]) == 2
    capsys.readouterr()
