"""The limits of a question to the server, against real sockets."""

from __future__ import annotations

import datetime
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import narthex.fetch
from narthex.fetch import Abort, FetchError, Response, fetch
from support import Server, answer


def get(url: str, seconds: float = 5, largest: int = 1000) -> Response:
    return fetch(url, {"X-Test": "1"}, seconds=seconds, largest=largest)


@contextmanager
def raw_server(handle: Callable[[socket.socket], None]) -> Iterator[str]:
    """One that need not speak HTTP."""
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        try:
            connection, _ = listener.accept()
            with connection:
                handle(connection)
        except OSError:
            pass

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        listener.close()
        thread.join(5)


def test_an_answer_is_read_with_its_headers(server: Server) -> None:
    server.handler = answer(200, b"body", ETag='"1"')
    response = get(f"{server.url}/path?query=1")
    assert (response.status, response.body, response.headers["etag"]) == (200, b"body", '"1"')
    path, headers = server.asked[0]
    assert path == "/path?query=1"
    assert (headers["x-test"], headers["accept-encoding"]) == ("1", "identity")
    assert headers["host"] == f"127.0.0.1:{server.port}"


def test_redirects_are_not_followed(server: Server) -> None:
    for status in (301, 302, 303, 307, 308, 300):
        server.handler = answer(status, b"", Location=f"{server.url}/elsewhere")
        with pytest.raises(FetchError, match="redirected"):
            get(server.url)
    assert "/elsewhere" not in [path for path, _ in server.asked]


def test_a_body_that_says_it_is_too_large_is_not_read(server: Server) -> None:
    server.handler = answer(200, b"x" * 1001)
    with pytest.raises(FetchError, match="larger than 1000 bytes"):
        get(server.url)
    server.handler = answer(200, b"x" * 1000)
    assert len(get(server.url).body) == 1000


def test_a_body_without_an_end_is_cut_at_the_limit(server: Server) -> None:
    def endless(connection: BaseHTTPRequestHandler) -> None:
        connection.send_response(200)
        connection.end_headers()
        try:
            while True:
                connection.wfile.write(b"x" * 65536)
        except OSError:
            pass

    server.handler = endless
    with pytest.raises(FetchError, match="larger than|more bytes"):
        get(server.url)


def test_heads_without_an_end_are_cut() -> None:
    def endless(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(b"A: " + b"x" * 1000 + b"\r\n")

    with raw_server(endless) as url, pytest.raises(FetchError):
        get(url)


def test_a_compressed_body_is_refused(server: Server) -> None:
    server.handler = answer(200, b"\x1f\x8b", Content_Encoding="gzip")
    with pytest.raises(FetchError, match="compressed"):
        get(server.url)


def test_a_body_that_stops_in_the_middle_is_refused() -> None:
    def half(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")

    with raw_server(half) as url, pytest.raises(FetchError, match="cut off"):
        get(url)


def test_an_answer_byte_by_byte_ends_with_the_total_time() -> None:
    # Each byte comes long before a limit for single reads would end it.
    def drip(connection: socket.socket) -> None:
        connection.recv(4096)
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + b"x" * 500:
            connection.sendall(bytes([byte]))
            time.sleep(0.02)

    began = time.monotonic()
    with raw_server(drip) as url, pytest.raises(FetchError, match="no whole answer within 0.3 s"):
        get(url, seconds=0.3)
    assert time.monotonic() - began < 2


def test_a_server_that_says_nothing_ends_with_the_total_time() -> None:
    silent = threading.Event()

    def wait(_connection: socket.socket) -> None:
        silent.wait(5)

    with raw_server(wait) as url:
        with pytest.raises(FetchError, match="within 0.2 s"):
            get(url, seconds=0.2)
        silent.set()


def test_what_is_no_http_is_refused(server: Server) -> None:
    with raw_server(lambda connection: connection.sendall(b"SSH-2.0-x\r\n")) as url, pytest.raises(FetchError):
        get(url)
    for url in ("ftp://127.0.0.1/", "file:///etc/passwd", "http://", "data:,x", "http://127.0.0.1:99999/"):
        with pytest.raises(FetchError):
            get(url)
    with pytest.raises(FetchError, match="ConnectionRefused"):
        get("http://127.0.0.1:1/")
    with pytest.raises(FetchError):
        get("http://no-such-name.invalid/")
    with pytest.raises(FetchError):
        get(f"{server.url}/a b\r\nX: 1")


def test_a_question_can_be_cut_from_another_thread() -> None:
    arrived, over = threading.Event(), threading.Event()

    def wait(connection: socket.socket) -> None:
        connection.recv(4096)
        arrived.set()
        over.wait(5)

    abort, ended = Abort(), threading.Event()

    def ask(url: str) -> None:
        with pytest.raises(FetchError):
            fetch(url, {}, seconds=30, largest=10, abort=abort)
        ended.set()

    with raw_server(wait) as url:
        threading.Thread(target=ask, args=(url,), daemon=True).start()
        assert arrived.wait(5)
        abort.abort()
        assert ended.wait(5)
        over.set()


def test_a_question_after_the_cut_is_not_asked(server: Server) -> None:
    abort = Abort()
    abort.abort()
    with pytest.raises(FetchError, match="aborted"):
        fetch(server.url, {}, seconds=5, largest=10, abort=abort)
    assert server.asked == []


def test_a_proxy_is_asked_where_the_environment_names_one(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.handler = answer(200, b"from the proxy")
    monkeypatch.setenv("http_proxy", f"http://user:p%40ss@127.0.0.1:{server.port}")
    assert get("http://auth.invalid/jwks?a=1").body == b"from the proxy"
    path, headers = server.asked[0]
    assert (path, headers["host"]) == ("http://auth.invalid/jwks?a=1", "auth.invalid")
    assert headers["proxy-authorization"] == "Basic dXNlcjpwQHNz"
    monkeypatch.setenv("no_proxy", "auth.invalid")
    with pytest.raises(FetchError):
        get("http://auth.invalid/jwks")
    assert len(server.asked) == 1
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:1")
    with pytest.raises(FetchError, match="only proxies"):
        get("http://other.invalid/")


@pytest.fixture
def tls(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes the server speak TLS with a certificate that nobody knows; returns the certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("auth.test")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = tmp_path / "key.pem"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, private)
    server.encrypt(context)
    monkeypatch.setattr(narthex.fetch, "_context", None)
    return path


def test_certificates_are_checked_against_ssl_cert_file(
    server: Server, tls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.handler = answer(200, b"secret")
    url = f"https://127.0.0.1:{server.port}/"
    with pytest.raises(FetchError, match="CERTIFICATE_VERIFY_FAILED"):
        get(url)
    monkeypatch.setattr(narthex.fetch, "_context", None)
    monkeypatch.setenv("SSL_CERT_FILE", str(tls))
    assert get(url).body == b"secret"
    # It is the certificate of another name.
    with pytest.raises(FetchError, match="CERTIFICATE_VERIFY_FAILED"):
        get(f"https://localhost:{server.port}/")


def test_https_goes_through_a_proxys_tunnel(server: Server, tls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tls))
    server.handler = answer(200, b"through")
    asked: list[bytes] = []

    def proxy(connection: socket.socket) -> None:
        asked.append(connection.recv(4096))
        connection.sendall(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n")
        with socket.create_connection(("127.0.0.1", server.port)) as onward:
            back = threading.Thread(target=pump, args=(onward, connection), daemon=True)
            back.start()
            pump(connection, onward)
            back.join(5)

    with raw_server(proxy) as url:
        monkeypatch.setenv("https_proxy", url.replace("http://", "http://u:p@"))
        assert get("https://auth.test/").body == b"through"
    assert asked[0].startswith(b"CONNECT auth.test:443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic dTpw\r\n" in asked[0]
    assert "proxy-authorization" not in server.asked[0][1]


def test_a_proxy_that_refuses_the_tunnel_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for reply in (b"HTTP/1.1 407 No\r\n\r\n", b"HTTP/1.1 200", b"x\r\n\r\n"):

        def refuse(connection: socket.socket, reply: bytes = reply) -> None:
            connection.recv(4096)
            connection.sendall(reply)

        with raw_server(refuse) as url:
            monkeypatch.setenv("https_proxy", url)
            with pytest.raises(FetchError, match="the proxy"):
                get("https://auth.test/")


def pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def test_a_truncated_chunk_is_refused() -> None:
    def chunked(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab")

    with raw_server(chunked) as url, pytest.raises(FetchError, match=http.client.IncompleteRead.__name__):
        get(url)
