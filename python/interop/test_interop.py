"""What others make of our tokens and cookies, and what Narthex's own package makes of a real server."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import jwt
import pytest
from conftest import PASSWORD, SECRET, Browser, Server, signed_up
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import KeySet

ALGORITHMS = ["EdDSA", "ES256", "ES512", "RS256", "PS256"]
SHARED = "a secret that both sides know, 32 characters"


def keys(algorithm: str, more: str = "") -> str:
    return f'[plugins.jwt.jwks]\nkey-pair-config = {{ alg = "{algorithm}" }}\n{more}'


def by_pyjwt(server: Server, token: str, algorithm: str) -> dict[str, Any]:
    key = jwt.PyJWKClient(f"{server.origin}/api/auth/jwks").get_signing_key_from_jwt(token)
    return jwt.decode(
        token,
        key,
        algorithms=[algorithm],
        issuer=server.origin,
        audience=server.origin,
        options={"require": ["exp", "sub", "iat"]},
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_pyjwt_and_joserfc_verify_each_algorithm_from_the_published_keys(
    start: Callable[..., Server], algorithm: str
) -> None:
    server = start(keys(algorithm))
    token = signed_up(server).token()
    claims = by_pyjwt(server, token, algorithm)
    assert claims["email"] == "ada@example.com"

    published = KeySet.import_key_set(server.browser().ask("/jwks"))
    decoded = joserfc_jwt.decode(token, published, algorithms=[algorithm])
    rules = joserfc_jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": server.origin},
        aud={"essential": True, "value": server.origin},
        exp={"essential": True},
        sub={"essential": True},
    )
    rules.validate(decoded.claims)
    assert decoded.claims == claims


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_jose_verifies_each_algorithm_from_the_published_keys(start: Callable[..., Server], algorithm: str) -> None:
    server = start(keys(algorithm))
    token = signed_up(server).token()
    script = """
        import { createRequire } from "node:module";
        const { createRemoteJWKSet, jwtVerify } = await import(createRequire(process.env.MODULES + "/").resolve("jose"));
        const [origin, token, algorithm] = process.argv.slice(1);
        const keys = createRemoteJWKSet(new URL(origin + "/api/auth/jwks"));
        const { payload } = await jwtVerify(token, keys, { issuer: origin, audience: origin, algorithms: [algorithm] });
        console.log(payload.email);
    """
    said = subprocess.run(
        ["node", "--input-type=module", "--eval", script, server.origin, token, algorithm],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": os.environ["PATH"], "MODULES": os.environ["NODE_MODULES_OF"]},
        check=False,
    )
    assert said.stdout == "ada@example.com\n", said.stderr


def test_a_shared_secret_is_verified_by_who_expects_no_audience(start: Callable[..., Server]) -> None:
    server = start("", JWT_SECRET=SHARED)
    token = signed_up(server).token()
    assert jwt.decode(token, SHARED, algorithms=["HS256"])["email"] == "ada@example.com"
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token, SECRET, algorithms=["HS256"])


def test_fastapi_betterauth_takes_our_tokens(server: Server, ada: Browser) -> None:
    from fastapi_betterauth import BetterAuth

    app = FastAPI()
    auth = BetterAuth(server.origin)

    @app.get("/me")
    def me(user: Annotated[dict[str, Any], Depends(auth)]) -> dict[str, Any]:
        return {"email": user["email"]}

    with TestClient(app) as client:
        answer = client.get("/me", headers={"authorization": f"Bearer {ada.token()}"})
        assert (answer.status_code, answer.json()) == (200, {"email": "ada@example.com"})
        assert client.get("/me", headers={"authorization": f"Bearer {ada.token()}x"}).status_code == 401


def bridged(verifier: Any) -> TestClient:
    from fastapi_better_auth import BetterAuth, Session, User

    auth = BetterAuth(verifiers=[verifier])
    app = FastAPI()

    @app.get("/me")
    async def me(session: Annotated[Session[User], Depends(auth.current_session())]) -> dict[str, Any]:
        return {"email": session.user.email}

    return TestClient(app)


def test_the_bridge_takes_our_tokens(server: Server, ada: Browser) -> None:
    from fastapi_better_auth import JwtVerifier

    with bridged(JwtVerifier(base_url=server.origin)) as client:
        answer = client.get("/me", headers={"authorization": f"Bearer {ada.token()}"})
        assert (answer.status_code, answer.json()) == (200, {"email": "ada@example.com"})
        assert client.get("/me", headers={"authorization": "Bearer x.y.z"}).status_code == 401


def test_the_bridge_finds_our_cookies_in_our_database(server: Server, ada: Browser) -> None:
    from fastapi_better_auth import CookieVerifier, OriginCheck, SharedSecret, SqlAlchemySessionStore
    from sqlalchemy.ext.asyncio import create_async_engine

    store = SqlAlchemySessionStore(engine=create_async_engine(f"sqlite+aiosqlite:///{server.folder}/narthex.db"))
    verifier = CookieVerifier(
        secret=SharedSecret(SECRET),
        store=store,
        csrf=OriginCheck(allowed_origins=[server.origin]),
        secure_cookies=False,
    )
    with bridged(verifier) as client:
        cookies = {"cookie": ada.cookies}
        answer = client.get("/me", headers=cookies)
        assert (answer.status_code, answer.json()) == (200, {"email": "ada@example.com"})
        ada.ask("/sign-out", {})
        assert client.get("/me", headers=cookies).status_code == 401


def test_the_bridge_asks_us_whose_cookie_it_is(server: Server, ada: Browser) -> None:
    from fastapi_better_auth import OriginCheck, RemoteVerifier

    origins = OriginCheck(allowed_origins=[server.origin])
    verifier = RemoteVerifier(base_url=server.origin, csrf=origins, secure_cookies=False)
    with bridged(verifier) as client:
        cookies = {"cookie": ada.cookies}
        answer = client.get("/me", headers=cookies)
        assert (answer.status_code, answer.json()) == (200, {"email": "ada@example.com"})
        ada.ask("/sign-out", {})
        assert client.get("/me", headers=cookies).status_code == 401


def ours(**options: Any) -> TestClient:
    from narthex import Auth, User

    auth = Auth(**options)
    app = FastAPI(lifespan=auth.lifespan)

    @app.get("/me")
    async def me(user: Annotated[User, Depends(auth.user())]) -> dict[str, Any]:
        return {"email": user["email"], "via": user.via}

    return TestClient(app)


def test_our_package_takes_tokens_session_tokens_and_cookies(server: Server, ada: Browser) -> None:
    session = ada.ask("/get-session")["session"]["token"]
    with ours(issuer=server.origin) as client:
        for headers, via in [
            ({"authorization": f"Bearer {ada.token()}"}, "token"),
            ({"authorization": f"Bearer {session}"}, "session"),
            ({"cookie": ada.cookies}, "cookie"),
        ]:
            answer = client.get("/me", headers=headers)
            assert (answer.status_code, answer.json()) == (200, {"email": "ada@example.com", "via": via}), headers
        assert client.get("/me").status_code == 401


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_our_package_verifies_each_algorithm(start: Callable[..., Server], algorithm: str) -> None:
    from narthex import Authenticator, InvalidCredential

    server = start(keys(algorithm))
    token = signed_up(server).token()
    auth = Authenticator(issuer=server.origin)
    assert auth.verify(token).email == "ada@example.com"
    head, payload, signature = token.split(".")
    with pytest.raises(InvalidCredential, match="signature"):
        auth.verify(f"{head}.{payload}.{'B' + signature[1:] if signature[0] == 'A' else 'A' + signature[1:]}")


def test_our_package_takes_a_shared_secret(start: Callable[..., Server]) -> None:
    server = start("", JWT_SECRET=SHARED)
    ada = signed_up(server)
    with ours(secret=SHARED, issuer=server.origin) as client:
        answer = client.get("/me", headers={"authorization": f"Bearer {ada.token()}"})
        assert (answer.status_code, answer.json()) == (200, {"email": "ada@example.com", "via": "token"})


def test_our_package_takes_what_the_token_api_answers(start: Callable[..., Server]) -> None:
    server = start("[plugins.jwt]\n[plugins.token-api]\n")
    browser = server.browser()
    account = {"name": "Ada", "email": "ada@example.com", "password": PASSWORD}
    first = browser.ask("/signup", account, under="/auth")
    second = browser.ask("/refresh", {"refresh_token": first["refresh_token"]}, under="/auth")
    assert not browser.cookies
    with ours(issuer=server.origin, cookies=False) as client:
        for answer in (first, second):
            assert (answer["token_type"], answer["expires_in"]) == ("bearer", 900)
            me = client.get("/me", headers={"authorization": f"Bearer {answer['access_token']}"})
            assert (me.status_code, me.json()) == (200, {"email": "ada@example.com", "via": "token"})


def test_the_benchmark_measures_tokens_of_a_running_server(server: Server) -> None:
    """That it runs and says what it should; how long things take is for no test to say."""
    bench = Path(__file__).parents[1] / "narthex/bench.py"
    arguments = ["--server", server.origin, "--rounds", "100", "--json"]
    said = subprocess.run(
        [sys.executable, str(bench), *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert said.returncode == 0, said.stderr
    found = json.loads(said.stdout)
    assert (found["algorithm"], found["server"], found["rounds"]) == ("EdDSA", server.origin, 100)
    for name in ("validation_p95_us", "in_fastapi_p95_us"):
        assert found[name] > 0, found
    for name in ("beyond_signature_p95_us", "in_fastapi_beyond_signature_p95_us"):
        assert isinstance(found[name], float), found
    assert found["requests"].keys() == {"/open", "/me", "/timed", "dependency", "bare"}


def test_keys_that_are_replaced_under_load_lose_no_verification(start: Callable[..., Server]) -> None:
    """Every key is at its end within a minute: half of that before its end the next one is published."""
    server = start(keys("ES256", 'rotation-interval = 60\ngrace-period = 600\n[plugins.jwt.jwt]\nexpiration-time = "5m"\n'))
    browsers = [signed_up(server, f"user-{index}@example.com") for index in range(4)]
    client = jwt.PyJWKClient(f"{server.origin}/api/auth/jwks", cache_keys=True)
    ended = time.monotonic() + 75
    seen: set[str] = set()
    failures: list[str] = []
    counted = [0]

    def ask(browser: Browser) -> None:
        while time.monotonic() < ended:
            token = browser.token()
            try:
                key = client.get_signing_key_from_jwt(token)
                jwt.decode(token, key, algorithms=["ES256"], issuer=server.origin, audience=server.origin)
            except jwt.PyJWTError as error:
                failures.append(repr(error))
            seen.add(jwt.get_unverified_header(token)["kid"])
            counted[0] += 1

    threads = [threading.Thread(target=ask, args=[browser]) for browser in browsers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, (len(failures), counted, failures[:3])
    assert len(seen) >= 2, "no key was replaced"
    assert counted[0] > 100
