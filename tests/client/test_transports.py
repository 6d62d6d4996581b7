"""Addresses, certificates and headers, and what comes back by HTTP."""

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import numpy as np
import pytest

from clr_infer import errors
from clr_infer.client import Client
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


def test_tokens_and_headers_are_sent():
    with Client("grpc://localhost:1", token="secret", headers={"X-Team": "a"}) as client:
        sent = client._client._transport._headers
    assert sent == {"x-team": "a", "authorization": "Bearer secret"}


def test_no_packing_of_pixels_is_asked_for():
    with Client("http://localhost:1") as client:
        assert client._client._transport._headers["Accept-Encoding"] == "identity"
    with Client("http://localhost:1", headers={"Accept-Encoding": "gzip"}) as client:
        assert client._client._transport._headers["Accept-Encoding"] == "gzip"


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
