"""What a validation costs: beside the bare signature check, beside PyJWT, and inside requests of FastAPI.

    python bench.py [--rounds 5000] [--server http://localhost:3001 [--cookie …]] [--json]

The application is served by uvicorn and asked by another process, one request after another. With `--server` its tokens
are those of a running Narthex or Better Auth, where somebody is signed up for it; else they are made here. Times are
of one thread, in microseconds. Garbage collection stays on, as in a server.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import http.client
import http.cookiejar
import json
import secrets
import statistics
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import uvicorn
from fastapi import Depends, FastAPI
from starlette.requests import HTTPConnection

from narthex import Auth, Authenticator, Request, User
from narthex.jose import parse

sys.path.insert(0, str(Path(__file__).parent / "tests"))
from support import ISSUER, SECRET, Signer, hs256

ALGORITHMS = ("EdDSA", "ES256", "ES512", "RS256", "PS256", "HS256")
DEFAULT = "EdDSA"
HEADROOM, MOST = 60.0, 400.0
WARM_UP = 200

Times = tuple[float, float]


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


def made_here(name: str) -> tuple[Auth[User], str, Any]:
    """A verifier, a token for it, and the key for PyJWT."""
    if name == "HS256":
        return Auth(secret=SECRET, issuer=ISSUER, audience=ISSUER), hs256(claims()), SECRET
    signer = Signer(name, name)
    return Auth(issuer=ISSUER, jwks={"keys": [signer.jwk]}), signer.token(claims()), jwt.PyJWK(signer.jwk).key


def made_by(server: str, cookie: str | None) -> tuple[Auth[User], str]:
    """A verifier for a running server, and a token of whom the cookie belongs to, or of somebody who signs up."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    account = {"name": "Bench", "email": f"bench-{secrets.token_hex(8)}@example.com", "password": secrets.token_hex(16)}
    headers = {"origin": server, "content-type": "application/json"}
    sign_up = urllib.request.Request(f"{server}/api/auth/sign-up/email", json.dumps(account).encode(), headers)  # noqa: S310
    ask = urllib.request.Request(f"{server}/api/auth/token", headers={"cookie": cookie} if cookie else {})  # noqa: S310
    try:
        if not cookie:
            browser.open(sign_up, timeout=30).close()
        with browser.open(ask, timeout=30) as answer:
            text = json.load(answer)["token"]
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{error.url} answered {error.code}: it needs sign-up by email and [plugins.jwt]") from None
    # What a server calls itself need not be where it is asked.
    issuer = jwt.decode(text, options={"verify_signature": False})["iss"]
    return Auth(issuer=issuer, url=server), text


def bare_check(auth: Authenticator[User], text: str) -> Callable[[], bool]:
    """The signature alone: what no verifier can do without."""
    auth.verify(text)
    key = auth._keys.cached(parse(text, len(text)).key_id)
    if key is None:
        raise SystemExit("no key")
    verify, (signed, _, signature) = key.verify, text.rpartition(".")
    raw, data = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4)), signed.encode()
    return lambda: verify(raw, data)


def spread(series: list[float]) -> Times:
    """Median and 95th percentile."""
    return statistics.median(series), statistics.quantiles(series, n=100)[94]


def measure(rounds: int, *calls: Callable[[], object]) -> list[Times]:
    """Each call in turns, so that what disturbs disturbs all."""
    times: list[list[float]] = [[] for _ in calls]
    for number in range(rounds + WARM_UP):
        for call, series in zip(calls, times, strict=True):
            began = time.perf_counter_ns()
            call()
            if number >= WARM_UP:
                series.append((time.perf_counter_ns() - began) / 1000)
    return [spread(series) for series in times]


def in_process(rounds: int, auth: Authenticator[User], text: str, key: Any = None) -> dict[str, Times]:
    """Bare check and validation, and PyJWT where it has the key."""
    request = Request("GET", [f"Bearer {text}"], [], endpoint="/me")
    calls: dict[str, Callable[[], object]] = {
        "bare": bare_check(auth, text),
        "narthex": lambda: auth.authenticate(request),
    }
    if key is not None:
        name, options = jwt.get_unverified_header(text)["alg"], {"require": ["exp", "sub"]}
        calls["PyJWT"] = lambda: jwt.decode(text, key, [name], audience=ISSUER, issuer=ISSUER, options=options)  # type: ignore[arg-type]
    return dict(zip(calls, measure(rounds, *calls.values()), strict=True))


async def in_fastapi(rounds: int, auth: Auth[User], text: str) -> dict[str, Times]:
    """The dependency inside requests, the bare check in the same ones, and both routes as the client sees them."""
    app, bare, user_of = FastAPI(lifespan=auth.lifespan), bare_check(auth, text), auth.user()
    inside: list[float] = []
    beside: list[float] = []

    async def timed(connection: HTTPConnection) -> User:
        # In turns and one in each request: the second would find everything in the processor's caches.
        if len(beside) < len(inside):
            began = time.perf_counter_ns()
            bare()
            beside.append((time.perf_counter_ns() - began) / 1000)
            return await user_of(connection)
        began = time.perf_counter_ns()
        user = await user_of(connection)
        inside.append((time.perf_counter_ns() - began) / 1000)
        return user

    @app.get("/open")
    async def without() -> str:
        return "ok"

    @app.get("/me")
    async def me(user: User = Depends(user_of)) -> str:
        return user.id

    @app.get("/timed")
    async def of_timed(user: User = Depends(timed)) -> str:
        return user.id

    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", 0, log_level="error", access_log=False))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    arguments = [sys.executable, __file__, "--rounds", str(rounds), "--ask", str(port)]
    client = await asyncio.create_subprocess_exec(
        *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await client.communicate(text.encode())
    server.should_exit = True
    await serving
    if client.returncode:
        raise SystemExit("the client failed")
    seen: dict[str, Times] = json.loads(said)
    return {**seen, "dependency": spread(inside[WARM_UP // 2 :]), "bare": spread(beside[WARM_UP // 2 :])}


def ask(rounds: int, port: int, text: str) -> dict[str, Times]:
    """One request after another over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port)

    def get(path: str) -> None:
        connection.request("GET", path, headers={"Authorization": f"Bearer {text}"})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"{path} answered {answer.status}")

    paths = ("/open", "/me", "/timed")
    return dict(zip(paths, measure(rounds, *(lambda path=path: get(path) for path in paths)), strict=True))


def main() -> None:
    options = argparse.ArgumentParser(description="What a validation costs.")
    options.add_argument("--rounds", type=int, default=5000)
    options.add_argument("--server", help="a running server whose tokens are validated")
    options.add_argument("--cookie", help="of somebody who is signed in at the server; else somebody signs up")
    options.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    options.add_argument("--ask", type=int, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.ask is not None:
        print(json.dumps(ask(chosen.rounds, chosen.ask, sys.stdin.read())))
        return
    kinds = {} if chosen.server else {name: in_process(chosen.rounds, *made_here(name)) for name in ALGORITHMS}
    if chosen.server:
        parts = urllib.parse.urlsplit(chosen.server)
        auth, text = made_by(f"{parts.scheme}://{parts.netloc}", chosen.cookie)
        name = jwt.get_unverified_header(text)["alg"]
        kinds[name] = in_process(chosen.rounds, auth, text)
    else:
        name, (auth, text, _) = DEFAULT, made_here(DEFAULT)
    requests = asyncio.run(in_fastapi(chosen.rounds, auth, text))
    found = {
        "algorithm": name,
        "rounds": chosen.rounds,
        "server": chosen.server,
        # What the server's default algorithm costs; with `--server`, what that server's tokens cost.
        "validation_p95_us": kinds[name]["narthex"][1],
        "beyond_signature_p95_us": kinds[name]["narthex"][1] - kinds[name]["bare"][1],
        "in_fastapi_p95_us": requests["dependency"][1],
        "in_fastapi_beyond_signature_p95_us": requests["dependency"][1] - requests["bare"][1],
        # Median and 95th percentile of each.
        "algorithms": kinds,
        "requests": requests,
    }
    if chosen.json:
        print(json.dumps(found))
    else:
        show(found)


def show(found: dict[str, Any]) -> None:
    print(f"{'':8}{'bare':>16}{'narthex':>16}{'PyJWT':>16}{'beyond bare':>16}    (median, p95 in us)")
    for name, times in found["algorithms"].items():
        cells = "".join(
            f"{times[who][0]:>8.1f}{times[who][1]:>8.1f}" if who in times else " " * 16
            for who in ("bare", "narthex", "PyJWT")
        )
        beyond = [ours - bare for ours, bare in zip(times["narthex"], times["bare"], strict=True)]
        print(f"{name:8}{cells}{beyond[0]:>8.1f}{beyond[1]:>8.1f}")
    print()
    print(f"FastAPI behind uvicorn, {found['algorithm']}, one request after another:")
    for what, (median, p95) in found["requests"].items():
        print(f"  {what:12}{median:>8.1f}{p95:>8.1f}")
    beyond = found["in_fastapi_beyond_signature_p95_us"]
    print(f"validation inside a request, p95: {found['in_fastapi_p95_us']:.1f} us; the aim is {MOST:.0f} us")
    print(f"beyond the bare check, p95: {beyond:.1f} us; the aim is {HEADROOM:.0f} us")


if __name__ == "__main__":
    main()
