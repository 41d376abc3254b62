"""Keys of every kind, tokens written by hand, and a real HTTP server on this machine."""

from __future__ import annotations

import base64
import contextlib
import hmac
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

ISSUER = "https://auth.test"
SECRET = "0123456789abcdef0123456789abcdef"


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8))


CURVES: dict[str, tuple[str, ec.EllipticCurve, hashes.HashAlgorithm]] = {
    "ES256": ("P-256", ec.SECP256R1(), hashes.SHA256()),
    "ES512": ("P-521", ec.SECP521R1(), hashes.SHA512()),
}


def pss(salt: int = 32, mask: hashes.HashAlgorithm | None = None) -> padding.PSS:
    return padding.PSS(padding.MGF1(mask or hashes.SHA256()), salt)


class Signer:
    """A private key and its JWK."""

    def __init__(self, algorithm: str, key_id: str, bits: int = 2048):
        self.algorithm, self.id = algorithm, key_id
        self.jwk: dict[str, Any] = {"kid": key_id, "alg": algorithm}
        if algorithm == "EdDSA":
            ed = ed25519.Ed25519PrivateKey.generate()
            self.public: Any = ed.public_key()
            self.sign: Callable[[bytes], bytes] = ed.sign
            self.jwk |= {"kty": "OKP", "crv": "Ed25519", "x": b64(ed.public_key().public_bytes_raw())}
        elif algorithm in CURVES:
            name, kind, digest = CURVES[algorithm]
            self.curve, size = ec.generate_private_key(kind), (kind.key_size + 7) // 8
            self.public = self.curve.public_key()
            point = self.public.public_numbers()
            self.jwk |= {"kty": "EC", "crv": name, "x": b64(point.x.to_bytes(size)), "y": b64(point.y.to_bytes(size))}

            def ecdsa(data: bytes) -> bytes:
                r, s = decode_dss_signature(self.curve.sign(data, ec.ECDSA(digest)))
                return r.to_bytes(size) + s.to_bytes(size)

            self.sign = ecdsa
        else:
            self.rsa = key = rsa.generate_private_key(65537, bits)
            self.public = key.public_key()
            numbers = self.public.public_numbers()
            self.jwk |= {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}
            scheme = padding.PKCS1v15() if algorithm == "RS256" else pss()
            self.sign = lambda data: key.sign(data, scheme, hashes.SHA256())

    def token(self, payload: object, **header: Any) -> str:
        return compact({"alg": self.algorithm, "kid": self.id, **header}, payload, self.sign)


def compact(header: object, payload: object, sign: Callable[[bytes], bytes]) -> str:
    """A compact JWS; texts are taken as they are, so that they may be wrong."""
    parts = [part if isinstance(part, str) else json.dumps(part) for part in (header, payload)]
    signed = ".".join(b64(part.encode()) for part in parts)
    return f"{signed}.{b64(sign(signed.encode()))}"


def hs256(payload: object, secret: str | bytes = SECRET, **header: Any) -> str:
    key = secret.encode() if isinstance(secret, str) else secret
    return compact({"alg": "HS256", **header}, payload, lambda data: hmac.digest(key, data, "sha256"))


Handler = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """A server whose every answer a test decides."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.handler: Handler = answer(404, b"")
        server = self

        class Connection(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                self.close_connection = True
                with contextlib.suppress(ConnectionError):
                    # Who asked has left.
                    server.handler(self)

            do_CONNECT = do_GET  # noqa: N815 - http.server's name

            def log_message(self, *_args: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Connection)
        self._http.daemon_threads = True
        self.port = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def encrypt(self, context: ssl.SSLContext) -> None:
        """Answers over TLS from now on."""
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True)

    def run(self) -> None:
        self._http.serve_forever(poll_interval=0.01)

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()


def answer(status: int, body: bytes | object, **headers: str) -> Handler:
    """Always the same answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    def handle(connection: BaseHTTPRequestHandler) -> None:
        connection.send_response(status)
        for name, value in headers.items():
            connection.send_header(name.replace("_", "-"), value)
        connection.send_header("Content-Length", str(len(data)))
        connection.end_headers()
        connection.wfile.write(data)

    return handle
