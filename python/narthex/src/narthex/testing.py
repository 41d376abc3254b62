"""An issuer in memory: mints tokens, keeps sessions and revokes them, without a server.

    issuer = Issuer()
    with issuer.serving(auth):
        client.get("/me", headers=issuer.bearer("user-1", role="admin"))

The verifier under test is the real one; only its questions to the server are answered here.
"""

from __future__ import annotations

import base64
import hmac
import json
import secrets
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519

from .authenticator import Authenticator
from .clock import Clock
from .fetch import Abort, FetchError, Response
from .jose import encode_base64url
from .revocations import AUDIENCE, TYPE, hashed


class FakeClock(Clock):
    """A clock that stands still until it is moved."""

    def __init__(self, now: float = 1_800_000_000):
        self._now = now
        self._monotonic = 1000.0

    def now(self) -> float:
        """The time that was set."""
        return self._now

    def monotonic(self) -> float:
        """The time that was set."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Moves both clocks."""
        self._now += seconds
        self._monotonic += seconds


class Issuer:
    """What the server would be to a verifier: keys, tokens, sessions, revocations."""

    def __init__(
        self,
        issuer: str = "https://auth.test",
        audience: str | None = None,
        *,
        secret: str | None = None,
        clock: Clock | None = None,
    ):
        self.issuer = issuer
        self.audience = audience or issuer
        self.clock = clock or Clock()
        self.away = False
        self._secret = secret
        self._key = ed25519.Ed25519PrivateKey.generate()
        self._key_id = secrets.token_hex(8)
        self._sessions: dict[str, dict[str, Any]] = {}
        self._entries: list[list[Any]] = []
        self._number = 1
        self._served: list[Authenticator[Any]] = []

    # Tokens -------------------------------------------------------------------------------------------------

    def token(self, sub: str = "user-1", *, expires_in: float = 900, **claims: Any) -> str:
        """A token as `GET /token` gives it; a claim that is `None` is left out.

        While a verifier that follows revocations is served, it names a session, as such a server's tokens do:
        `session-of-user-1`, unless `sid` says another.
        """
        now = int(self.clock.now())
        follows = any(auth.follows_revocations for auth in self._served)
        payload = {
            "iat": now,
            "id": sub,
            "email": f"{sub}@example.com",
            "emailVerified": True,
            "name": sub,
            "sub": sub,
            "exp": now + int(expires_in),
            "iss": self.issuer,
            "aud": self.audience,
            "sid": f"session-of-{sub}" if follows else None,
            **claims,
        }
        return self.sign({name: value for name, value in payload.items() if value is not None})

    def bearer(self, sub: str = "user-1", **claims: Any) -> dict[str, str]:
        """The header of a request with a token."""
        return {"Authorization": f"Bearer {self.token(sub, **claims)}"}

    def sign(self, payload: Mapping[str, Any], **header: Any) -> str:
        """A compact JWS over any payload."""
        if self._secret is not None:
            head: dict[str, Any] = {"alg": "HS256", **header}
        else:
            head = {"alg": "EdDSA", "kid": self._key_id, **header}
        signed = encode_base64url(json.dumps(head).encode()) + b"." + encode_base64url(json.dumps(payload).encode())
        if self._secret is not None:
            signature = hmac.digest(self._secret.encode(), signed, "sha256")
        else:
            signature = self._key.sign(signed)
        return (signed + b"." + encode_base64url(signature)).decode()

    def jwks(self) -> dict[str, Any]:
        """The public keys, as the server publishes them."""
        x = encode_base64url(self._key.public_key().public_bytes_raw()).decode()
        return {"keys": [{"alg": "EdDSA", "crv": "Ed25519", "kty": "OKP", "x": x, "kid": self._key_id}]}

    # Sessions -----------------------------------------------------------------------------------------------

    def session(self, user_id: str = "user-1", *, expires_in: float = 604800, **user: Any) -> str:
        """Signs a user in; returns the session token, which is a bearer credential as well."""
        token = secrets.token_hex(16)
        now = self.clock.now()
        self._sessions[token] = {
            "session": {
                "id": f"session-{token[:8]}",
                "token": token,
                "userId": user_id,
                "expiresAt": _date(now + expires_in),
                "createdAt": _date(now),
            },
            "user": {
                "id": user_id,
                "email": f"{user_id}@example.com",
                "emailVerified": True,
                "name": user_id,
                **user,
            },
        }
        return token

    def cookie(self, user_id: str = "user-1", **user: Any) -> dict[str, str]:
        """The header of a request from a signed-in browser."""
        token = self.session(user_id, **user)
        signature = base64.b64encode(bytes(32)).decode()
        return {"Cookie": f"better-auth.session_token={urllib.parse.quote(f'{token}.{signature}', safe='')}"}

    def sign_out(self, token: str) -> None:
        """Ends a session."""
        del self._sessions[token.split(".")[0]]

    # Revocations --------------------------------------------------------------------------------------------

    def revoke_session(self, session_id: str) -> None:
        """Puts a session on the list."""
        self._revoke(["s", hashed(session_id)])

    def revoke_user(self, user_id: str, before: float | None = None) -> None:
        """Puts a user's tokens from before a moment, or before the next second, on the list."""
        self._revoke(["u", hashed(user_id), int(self.clock.now()) + 1 if before is None else before])

    def revoke_everybody(self, before: float | None = None) -> None:
        """Puts all tokens from before a moment, or before the next second, on the list."""
        self._revoke(["g", int(self.clock.now()) + 1 if before is None else before])

    def _revoke(self, entry: list[Any]) -> None:
        self._entries.append(entry)
        self._number += 1
        # As the thread would, but at once and only now.
        for auth in self._served:
            auth.fetch_revocations()

    def revocations(self, **claims: Any) -> str:
        """The list, as the server publishes it."""
        now = int(self.clock.now())
        payload = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + 300,
            "seq": self._number,
            "entries": self._entries,
            **claims,
        }
        return self.sign(payload, typ=TYPE)

    # In a verifier's place of the network -------------------------------------------------------------------

    @contextmanager
    def serving(self, auth: Authenticator[Any]) -> Iterator[None]:
        """While inside, `auth` asks this issuer instead of its server, and tokens are made out as it expects them."""
        before = self.issuer, self.audience
        expected = auth._expected
        self.issuer = expected.issuer or self.issuer
        if expected.audience is not None and self.audience not in expected.audience:
            self.audience = min(expected.audience)
        with auth.asking(self.answer, self.clock):
            self._served.append(auth)
            try:
                yield
            finally:
                self._served.remove(auth)
                self.issuer, self.audience = before

    def answer(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        seconds: float,
        largest: int,
        abort: Abort | None = None,
    ) -> Response:
        """Answers what a verifier asks."""
        del seconds, abort
        if self.away:
            raise FetchError("the issuer is away")
        path = urllib.parse.urlsplit(url).path
        if path.endswith("/jwks"):
            body = json.dumps(self.jwks()).encode()
        elif path.endswith("/get-session"):
            body = json.dumps(self._sessions.get(_session_token(headers))).encode()
        elif path.endswith("/revocations"):
            body = self.revocations().encode()
        else:
            return Response(404, {}, b"")
        if len(body) > largest:
            raise FetchError(f"larger than {largest} bytes")
        return Response(200, {}, body)


def _session_token(headers: Mapping[str, str]) -> str:
    presented = headers.get("Authorization", "").removeprefix("Bearer ")
    for pair in headers.get("Cookie", "").split("; "):
        name, _, value = pair.partition("=")
        if name.endswith(".session_token"):
            presented = value
    return urllib.parse.unquote(presented).split(".")[0]


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
