"""What a validation costs: beside the bare signature check, beside PyJWT, and in a FastAPI route.

    python bench.py [rounds]

Times are of one thread, in microseconds. Garbage collection stays on, as in a server.
"""

from __future__ import annotations

import asyncio
import base64
import statistics
import sys
import time
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

import jwt
from fastapi import Depends, FastAPI

from narthex import Auth, Request, User
from narthex.testing import Issuer

sys.path.insert(0, str(Path(__file__).parent / "tests"))
from support import ISSUER, SECRET, Signer, hs256

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
HEADROOM = 60.0


def claims() -> dict[str, Any]:
    """What `GET /token` says of a user with a profile."""
    now = int(time.time())
    return {
        "iat": now,
        "email": "a@example.com",
        "emailVerified": True,
        "name": "A",
        "role": "user",
        "experienceLevel": "advanced",
        "createdAt": "2026-01-01T00:00:00.000Z",
        "updatedAt": "2026-01-01T00:00:00.000Z",
        "id": "u" * 32,
        "sub": "u" * 32,
        "exp": now + 900,
        "iss": ISSUER,
        "aud": ISSUER,
    }


def measure(*calls: Callable[[], object]) -> list[tuple[float, float]]:
    """Median and 95th percentile of each; in turns, so that what disturbs disturbs all."""
    times: list[list[float]] = [[] for _ in calls]
    for number in range(ROUNDS + 200):
        for call, series in zip(calls, times, strict=True):
            began = time.perf_counter_ns()
            call()
            if number >= 200:
                series.append((time.perf_counter_ns() - began) / 1000)
    return [(statistics.median(series), statistics.quantiles(series, n=100)[94]) for series in times]


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def tokens() -> None:
    print(f"{'':8}{'bare':>16}{'narthex':>16}{'PyJWT':>16}{'beyond bare':>16}    (median, p95 in us)")
    worst = max(algorithm(name) for name in ("EdDSA", "ES256", "ES512", "RS256", "PS256", "HS256"))
    print(f"beyond the bare check, p95: {worst:.1f} us at worst; the aim is {HEADROOM:.0f} us")


def algorithm(name: str) -> float:
    """One line of the table; how much the 95th percentile lies beyond the bare check's."""
    if name == "HS256":
        auth, text, public = Auth(secret=SECRET, issuer=ISSUER, audience=ISSUER), hs256(claims()), SECRET
    else:
        signer = Signer(name, name)
        auth, text = Auth(issuer=ISSUER, jwks={"keys": [signer.jwk]}), signer.token(claims())
        public = jwt.PyJWK(signer.jwk).key
    head, payload, signature = text.split(".")
    signed, raw = f"{head}.{payload}".encode(), decode(signature)
    key = auth._keys.cached(name)
    if key is None:
        raise SystemExit("no key")
    verify = key.verify
    request = Request("GET", [f"Bearer {text}"], [], endpoint="/me")
    options: Any = {"require": ["exp", "sub"]}
    bare, ours, theirs = measure(
        lambda: verify(raw, signed),
        lambda: auth.authenticate(request),
        lambda: jwt.decode(text, public, [name], audience=ISSUER, issuer=ISSUER, options=options),
    )
    beyond = ours[1] - bare[1]
    cells = "".join(f"{median:>8.1f}{p95:>8.1f}" for median, p95 in (bare, ours, theirs))
    print(f"{name:8}{cells}{ours[0] - bare[0]:>8.1f}{beyond:>8.1f}")
    return beyond


async def requests() -> None:
    issuer = Issuer(ISSUER)
    auth = Auth(issuer=ISSUER)
    app = FastAPI()

    @app.get("/open")
    async def without() -> str:
        return "ok"

    @app.get("/me")
    async def me(user: User = Depends(auth.user())) -> str:
        return user.id

    with issuer.serving(auth):
        header = issuer.bearer()["Authorization"].encode()
        for path in ("/open", "/me"):
            times = []
            for number in range(ROUNDS + 200):
                began = time.perf_counter_ns()
                status = await request(app, path, header)
                if number >= 200:
                    times.append((time.perf_counter_ns() - began) / 1000)
                if status != 200:
                    raise SystemExit(f"{path} answered {status}")
            p95 = statistics.quantiles(times, n=100)[94]
            print(f"FastAPI {path:6} one after another: median {statistics.median(times):.1f}, p95 {p95:.1f} us")


async def request(app: FastAPI, path: str, header: bytes) -> int:
    """One request without a network: what is measured is the application."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"authorization", header)],
    }
    status = 0

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)

    await app(scope, receive, send)
    return status


if __name__ == "__main__":
    tokens()
    asyncio.run(requests())
