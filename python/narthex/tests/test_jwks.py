"""Keys behind a URL, from a real server on this machine."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from narthex import Authenticator, AuthError, InvalidCredential, JwksOptions, Unavailable
from narthex.testing import FakeClock
from support import ISSUER, Server, Signer, answer


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def auth(server: Server, clock: FakeClock, eddsa: Signer) -> Iterator[Authenticator]:
    server.handler = key_set(eddsa)
    with_url = Authenticator(issuer=ISSUER, url=server.url, clock=clock, jwks_options=JwksOptions(timeout=2))
    yield with_url
    with_url.close()


def key_set(*signers: Signer, **headers: str) -> Any:
    return answer(200, {"keys": [signer.jwk for signer in signers]}, **headers)


def token(clock: FakeClock, signer: Signer, **header: Any) -> str:
    now = int(clock.now())
    payload = {"sub": "user-1", "iat": now, "exp": now + 100_000, "iss": ISSUER, "aud": ISSUER}
    return signer.token(payload, **header)


def outcome(auth: Authenticator, text: str) -> str:
    try:
        return auth.verify(text).id
    except AuthError as error:
        return error.reason


def wait_for(condition: Any) -> None:
    """For what another thread does; a clock cannot be moved over that."""
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def test_keys_are_fetched_once_for_all_who_wait(
    auth: Authenticator, server: Server, clock: FakeClock, eddsa: Signer
) -> None:
    release = threading.Event()

    def slow(connection: BaseHTTPRequestHandler) -> None:
        release.wait(5)
        key_set(eddsa)(connection)

    server.handler = slow
    text = token(clock, eddsa)
    results: list[str] = []
    threads = [threading.Thread(target=lambda: results.append(outcome(auth, text))) for _ in range(20)]
    for thread in threads:
        thread.start()
    wait_for(lambda: server.asked)
    release.set()
    for thread in threads:
        thread.join()
    assert results == ["user-1"] * 20
    assert [path for path, _ in server.asked] == ["/api/auth/jwks"]


def test_async_callers_share_the_request_and_one_who_leaves_does_not_end_it(
    auth: Authenticator, server: Server, clock: FakeClock, eddsa: Signer
) -> None:
    release = threading.Event()

    def slow(connection: BaseHTTPRequestHandler) -> None:
        release.wait(5)
        key_set(eddsa)(connection)

    server.handler = slow
    text = token(clock, eddsa)

    async def run() -> list[Any]:
        tasks = [asyncio.create_task(auth.verify_async(text)) for _ in range(10)]
        while not server.asked:
            await asyncio.sleep(0.01)
        tasks[0].cancel()
        release.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = asyncio.run(run())
    assert isinstance(results[0], asyncio.CancelledError)
    assert [user.id for user in results[1:]] == ["user-1"] * 9
    assert len(server.asked) == 1


def test_a_flood_of_unknown_ids_is_answered_without_asking(
    auth: Authenticator, server: Server, clock: FakeClock, eddsa: Signer
) -> None:
    assert outcome(auth, token(clock, eddsa)) == "user-1"
    for number in range(2000):
        assert outcome(auth, token(clock, eddsa, kid=f"unknown-{number}")) == "unknown_key"
    assert len(server.asked) == 1
    # After the floor one more question, and it is for one id only.
    clock.advance(11)
    for number in range(2000):
        assert outcome(auth, token(clock, eddsa, kid=f"unknown-{number}")) == "unknown_key"
    assert len(server.asked) == 2
    assert outcome(auth, token(clock, eddsa)) == "user-1"


def test_an_id_that_was_looked_for_is_not_looked_for_again_for_a_while(
    auth: Authenticator, server: Server, clock: FakeClock, eddsa: Signer, es256: Signer
) -> None:
    assert outcome(auth, token(clock, eddsa)) == "user-1"
    clock.advance(11)
    assert outcome(auth, token(clock, es256)) == "unknown_key"
    assert len(server.asked) == 2
    server.handler = key_set(eddsa, es256)
    clock.advance(11)
    assert outcome(auth, token(clock, es256)) == "unknown_key"
    assert len(server.asked) == 2
    clock.advance(50)
    assert outcome(auth, token(clock, es256)) == "user-1"
    assert len(server.asked) == 3


def test_a_new_key_is_found_after_the_floor(
    auth: Authenticator, server: Server, clock: FakeClock, eddsa: Signer, es256: Signer
) -> None:
    assert outcome(auth, token(clock, eddsa)) == "user-1"
    server.handler = key_set(eddsa, es256)
    assert outcome(auth, token(clock, es256)) == "unknown_key"
    clock.advance(10)
    assert outcome(auth, token(clock, es256)) == "user-1"
    assert outcome(auth, token(clock, eddsa)) == "user-1"


def test_keys_are_renewed_after_their_lifetime_and_a_withdrawn_one_is_refused(
    auth: Authenticator, server: Server, clock: FakeClock, eddsa: Signer, es256: Signer
) -> None:
    text = token(clock, eddsa)
    assert outcome(auth, text) == "user-1"
    server.handler = key_set(es256)
    clock.advance(301)
    assert outcome(auth, text) == "unknown_key"
    assert outcome(auth, token(clock, es256)) == "user-1"


@pytest.mark.parametrize(
    ("header", "lifetime"),
    [("max-age=60", 60), ("public, max-age=60", 60), ("max-age=1", 30), ("max-age=999999", 3600), ("no-cache", 300)],
)
def test_the_lifetime_is_what_the_server_says_within_bounds(
    auth: Authenticator, server: Server, clock: FakeClock, eddsa: Signer, es256: Signer, header: str, lifetime: int
) -> None:
    server.handler = key_set(eddsa, Cache_Control=header)
    text = token(clock, eddsa)
    assert outcome(auth, text) == "user-1"
    clock.advance(0.75 * lifetime)
    assert outcome(auth, text) == "user-1"
    assert len(server.asked) == 1
    server.handler = key_set(es256)
    clock.advance(0.25 * lifetime + 1)
    assert outcome(auth, text) == "unknown_key"


def test_keys_are_renewed_ahead_of_time_without_anybody_waiting(
    auth: Authenticator, server: Server, clock: FakeClock, eddsa: Signer
) -> None:
    text = token(clock, eddsa)
    assert outcome(auth, text) == "user-1"
    release = threading.Event()

    def slow(connection: BaseHTTPRequestHandler) -> None:
        release.wait(5)
        key_set(eddsa)(connection)

    server.handler = slow
    clock.advance(250)
    assert outcome(auth, text) == "user-1"
    wait_for(lambda: len(server.asked) == 2)
    release.set()
    wait_for(lambda: auth.status()["keys_age"] == 0)


def test_an_unchanged_set_is_confirmed_by_its_etag(
    auth: Authenticator, server: Server, clock: FakeClock, eddsa: Signer
) -> None:
    server.handler = key_set(eddsa, ETag='"one"')
    text = token(clock, eddsa)
    assert outcome(auth, text) == "user-1"
    server.handler = answer(304, b"")
    for _ in range(3):
        clock.advance(301)
        assert outcome(auth, text) == "user-1"
    assert [headers.get("if-none-match") for _, headers in server.asked] == [None, '"one"', '"one"', '"one"']


def test_without_any_keys_the_answer_is_503_and_asking_is_not_repeated_at_once(
    auth: Authenticator, server: Server, clock: FakeClock, eddsa: Signer
) -> None:
    server.handler = answer(500, b"")
    text = token(clock, eddsa)
    for _ in range(5):
        with pytest.raises(Unavailable) as caught:
            auth.verify(text)
        assert (caught.value.status, caught.value.headers) == (503, {"Retry-After": "5"})
    assert len(server.asked) == 1
    assert auth.status() == {"ready": False, "keys_age": None, "revocations": None}
    server.handler = key_set(eddsa)
    clock.advance(10)
    assert outcome(auth, text) == "user-1"
    assert auth.status() == {"ready": True, "keys_age": 0.0, "revocations": None}


def test_the_last_keys_are_used_on_when_the_server_is_away_up_to_a_bound(
    auth: Authenticator, server: Server, clock: FakeClock, eddsa: Signer, es256: Signer
) -> None:
    text = token(clock, eddsa)
    assert outcome(auth, text) == "user-1"
    server.handler = answer(500, b"")
    clock.advance(301)
    assert outcome(auth, text) == "user-1"
    assert len(server.asked) == 2
    # Not asked at each request, and nobody waits for it.
    assert outcome(auth, text) == "user-1"
    assert len(server.asked) == 2
    clock.advance(11)
    assert outcome(auth, text) == "user-1"
    wait_for(lambda: len(server.asked) == 3)
    # An unknown id is a 401 and no 503 while there are keys.
    assert outcome(auth, token(clock, es256)) == "unknown_key"
    clock.advance(3600)
    assert outcome(auth, text) == "unavailable"
    server.handler = key_set(eddsa)
    clock.advance(11)
    assert outcome(auth, text) == "user-1"


def test_an_unknown_id_is_refused_also_when_looking_for_it_fails(
    auth: Authenticator, server: Server, clock: FakeClock, eddsa: Signer, es256: Signer
) -> None:
    assert outcome(auth, token(clock, eddsa)) == "user-1"
    server.handler = answer(500, b"")
    clock.advance(11)
    assert outcome(auth, token(clock, es256)) == "unknown_key"
    # It was not answered that there is none, so it is looked for again.
    server.handler = key_set(eddsa, es256)
    clock.advance(11)
    assert outcome(auth, token(clock, es256)) == "user-1"


def test_a_redirecting_key_set_is_not_followed(
    auth: Authenticator, server: Server, clock: FakeClock, eddsa: Signer
) -> None:
    server.handler = answer(302, b"", Location="/evil")
    assert outcome(auth, token(clock, eddsa)) == "unavailable"
    assert [path for path, _ in server.asked] == ["/api/auth/jwks"]


def test_a_huge_key_set_is_refused(auth: Authenticator, server: Server, clock: FakeClock, eddsa: Signer) -> None:
    server.handler = answer(200, {"keys": [eddsa.jwk], "padding": "x" * 270_000})
    assert outcome(auth, token(clock, eddsa)) == "unavailable"


def test_a_set_of_all_the_keys_that_a_server_publishes_is_taken(
    auth: Authenticator, server: Server, clock: FakeClock, rs256: Signer
) -> None:
    """Keys that are replaced each day and published for a month more are some thirty."""
    server.handler = answer(200, {"keys": [{**rs256.jwk, "kid": f"key-{number}"} for number in range(100)]})
    assert outcome(auth, token(clock, rs256, kid="key-99")) == "user-1"
    server.handler = answer(200, {"keys": [{**rs256.jwk, "kid": f"key-{number}"} for number in range(101)]})
    clock.advance(100_000)
    assert outcome(auth, token(clock, rs256, kid="key-99")) == "unavailable"


def test_a_slow_key_set_is_given_up(server: Server, clock: FakeClock, eddsa: Signer) -> None:
    over = threading.Event()

    def slow(connection: BaseHTTPRequestHandler) -> None:
        # Good, but only once nobody waits for it any more.
        over.wait(30)
        key_set(eddsa)(connection)

    def dripping(connection: BaseHTTPRequestHandler) -> None:
        connection.send_response(200)
        connection.end_headers()
        while not over.wait(0.05):
            connection.wfile.write(b" ")
        connection.wfile.write(json.dumps({"keys": [eddsa.jwk]}).encode())

    for handler in (slow, dripping):
        over.clear()
        server.handler = handler
        auth = Authenticator(issuer=ISSUER, url=server.url, clock=clock, jwks_options=JwksOptions(timeout=0.2))
        assert outcome(auth, token(clock, eddsa)) == "unavailable"
        over.set()


def test_a_set_that_is_none_is_refused(auth: Authenticator, server: Server, clock: FakeClock, eddsa: Signer) -> None:
    private = {**eddsa.jwk, "d": "AA"}
    bodies = [b"", b"[]", b"<html>", b'{"keys":{}}', b'{"keys":[]}', b'{"keys":[],"keys":[]}', b"\xff"]
    bodies.append(json.dumps({"keys": [private]}).encode())
    for body in bodies:
        server.handler = answer(200, body)
        assert outcome(auth, token(clock, eddsa)) == "unavailable"
        clock.advance(11)


def test_bad_keys_in_a_set_do_not_spoil_the_others(
    auth: Authenticator, server: Server, clock: FakeClock, eddsa: Signer, es256: Signer, rs256: Signer
) -> None:
    keys = [eddsa.jwk, {**es256.jwk, "d": "AA"}, rs256.jwk, {**eddsa.jwk, "kid": rs256.id}]
    server.handler = answer(200, {"keys": keys})
    assert outcome(auth, token(clock, eddsa)) == "user-1"
    clock.advance(11)
    assert outcome(auth, token(clock, es256)) == "unknown_key"
    clock.advance(11)
    assert outcome(auth, token(clock, rs256)) == "unknown_key"


def test_keys_can_be_fetched_before_the_first_request(auth: Authenticator, server: Server) -> None:
    with auth:
        wait_for(lambda: auth.status()["ready"])
    assert len(server.asked) == 1


def test_the_place_of_the_keys_can_be_named(server: Server, clock: FakeClock, eddsa: Signer) -> None:
    server.handler = key_set(eddsa)
    for options, path in (
        ({"url": server.url, "base_path": "/auth/"}, "/auth/jwks"),
        ({"url": f"{server.url}/custom/"}, "/custom/jwks"),
        ({"jwks_url": f"{server.url}/keys.json"}, "/keys.json"),
        ({"url": server.url, "base_path": "/"}, "/jwks"),
    ):
        auth = Authenticator(issuer=ISSUER, clock=clock, **options)  # type: ignore[arg-type]
        assert auth.verify(token(clock, eddsa)).id == "user-1"
        assert server.asked[-1][0] == path


def test_a_fixed_set_is_never_fetched(clock: FakeClock, eddsa: Signer, es256: Signer) -> None:
    auth = Authenticator(issuer=ISSUER, jwks={"keys": [eddsa.jwk]}, clock=clock)
    assert auth.verify(token(clock, eddsa)).id == "user-1"
    with pytest.raises(InvalidCredential):
        auth.verify(token(clock, es256))
    assert auth.status()["ready"] is True
