"""Addresses, certificates and headers, and what comes back by HTTP."""

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import numpy as np
import pytest

from clr_infer import errors
from clr_infer.client import Client, Retry
from clr_infer.errors import RuntimeUnavailable, UsageError

PIXELS = np.zeros((40, 50, 3), np.uint8)


@pytest.mark.parametrize("url", ["localhost:8001", "ftp://x:1", "grpc://", ""])
def test_strange_addresses_are_refused(url):
    with pytest.raises(UsageError, match="grpc://host:8001"):
        Client(url)


def test_an_address_that_is_none_is_refused():
    with pytest.raises(UsageError, match="no address"):
        Client("grpc://[::1:8001")


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_certificates_are_not_left_out_silently(scheme, tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(UsageError, match="not encrypted"):
        Client(f"{scheme}://localhost:1", tls_ca=tmp_path / "ca.pem", token="secret")
    with pytest.raises(UsageError, match="not encrypted"):
        Client(f"{scheme}://localhost:1", tls_cert=(tmp_path / "ca.pem", tmp_path / "ca.pem"))
    with pytest.raises(UsageError, match="no file.*none.key"):
        Client(f"{scheme}s://localhost:1", tls_cert=(tmp_path / "ca.pem", tmp_path / "none.key"))
    with pytest.raises(UsageError, match="certificates cannot be read"):
        Client("https://localhost:1", tls_ca=tmp_path / "ca.pem")


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_a_client_without_its_library_says_what_to_install(scheme, monkeypatch):
    monkeypatch.setitem(sys.modules, f"tritonclient.{scheme}.aio", None)
    with pytest.raises(RuntimeUnavailable, match=r"clr_infer\[client\]"):
        Client(f"{scheme}://localhost:1")


def _sent(url, **options):
    with Client(url, **options) as client:
        return client._client._transport._headers


@pytest.mark.parametrize("name", ["Authorization", "authorization"])
@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_tokens_and_headers_are_sent_once_each(scheme, name):
    headers = {"X-Team": "a", name: "Basic mine"}
    url, usual = f"{scheme}://localhost:1", {} if scheme == "grpc" else _sent("http://localhost:1")
    others = usual | {"x-team": "a"}
    assert _sent(url, headers=headers) == others | {"authorization": "Basic mine"}
    assert _sent(url, token="s", headers=headers) == others | {"authorization": "Bearer s"}


@pytest.mark.parametrize("name", ["Accept-Encoding", "accept-encoding"])
def test_no_packing_of_pixels_is_asked_for(name):
    assert _sent("http://localhost:1") == {"accept-encoding": "identity"}
    assert _sent("http://localhost:1", headers={name: "gzip"}) == {"accept-encoding": "gzip"}


def test_a_connection_that_breaks_is_unavailable(monkeypatch):
    async def broken(**_):
        raise ConnectionResetError("cut off")

    with Client("http://localhost:1", timeout_s=5.0, retry=Retry(budget=0)) as client:
        monkeypatch.setattr(client._client._transport._client, "infer", broken)
        with pytest.raises(errors.ServerUnavailable, match="cut off"):
            client.locate(PIXELS)


class _Forgetful(BaseHTTPRequestHandler):
    """Answers every inference with no outputs; notes for which paths."""

    paths: list[str] = []

    def do_POST(self):
        self.paths.append(self.path)
        self.rfile.read(int(self.headers["Content-Length"]))
        reply = b'{"model_name": "clr_locate", "model_version": "1", "outputs": []}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_):
        pass


def test_an_answer_that_lacks_an_output_says_which():
    with HTTPServer(("127.0.0.1", 0), _Forgetful) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            for path in ("", "/behind/a/gateway/"):
                url = f"http://127.0.0.1:{server.server_port}{path}"
                with (
                    Client(url, timeout_s=20) as client,
                    pytest.raises(errors.ServerError, match="clr_locate answered without result"),
                ):
                    client.locate(PIXELS)
        finally:
            server.shutdown()
    path = "/v2/models/clr_locate/infer"
    assert _Forgetful.paths == [path, f"/behind/a/gateway{path}"]
