"""A session that ends takes its tokens with it, for an application that follows the server's list."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import pytest
from conftest import Browser, Server, binary, signed_up
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

from narthex import Auth, RevocationOptions, User

BACKENDS = "what backends show to be given the list, 32+"
SHARED = "a secret that both sides know, 32 characters"
LISTED = f'[plugins.jwt]\nrevocation = true\nrevocation-secret = "{BACKENDS}"\n'
# Long enough for a machine that has much else to do.
PATIENCE = 60.0


@contextmanager
def following(server: Server, **options: object) -> Iterator[TestClient]:
    """An application that follows the list."""
    settings = {"secret": BACKENDS, **options}
    secret = settings.pop("shared", None)
    auth = Auth(issuer=server.origin, secret=secret, revocations=RevocationOptions(**settings))
    app = FastAPI(lifespan=auth.lifespan)

    @app.get("/me")
    async def me(user: Annotated[User, Depends(auth.user())]) -> dict[str, str]:
        return {"email": user["email"]}

    with TestClient(app) as client:
        yield client


def answer(client: TestClient, token: str) -> tuple[int, str]:
    reply = client.get("/me", headers={"authorization": f"Bearer {token}"})
    said = reply.json()
    return reply.status_code, said.get("email") or said["detail"]


def until(client: TestClient, token: str, expected: tuple[int, str]) -> float:
    began = time.monotonic()
    while (said := answer(client, token)) != expected:
        assert time.monotonic() - began < PATIENCE, said
        time.sleep(0.01)
    return time.monotonic() - began


def narthex(server: Server, *arguments: str) -> str:
    done = subprocess.run(
        [binary(), *arguments],
        cwd=server.folder,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def session_id(browser: Browser) -> str:
    return str(browser.ask("/get-session")["session"]["id"])


ENDED = (401, "The session has ended")
AWAY = (503, "Authentication is not available at the moment")


@pytest.mark.parametrize("shared", [None, SHARED])
def test_a_session_that_an_operator_ends_takes_its_tokens_with_it(
    start: Callable[..., Server], shared: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    server = start(LISTED + (f'secret = "{shared}"\n' if shared else ""))
    ada, grace = signed_up(server), signed_up(server, "grace@example.com")
    tokens = [ada.token(), grace.token()]
    with following(server, shared=shared) as client:
        assert [answer(client, token)[0] for token in tokens] == [200, 200]
        narthex(server, "session", "revoke", session_id(ada))
        seconds = until(client, tokens[0], ENDED)
        with capsys.disabled():
            print(f"\nrefused {seconds:.2f} s after `narthex session revoke`")
        assert answer(client, tokens[1]) == (200, "grace@example.com")

        # In the server itself: at once, and for all of a user.
        grace.ask("/revoke-sessions", {})
        until(client, tokens[1], ENDED)

        # Everybody who signs in again is let in.
        again = server.browser()
        again.ask("/sign-in/email", {"email": "ada@example.com", "password": "correct horse battery"})
        token = again.token()
        assert answer(client, token) == (200, "ada@example.com")
        narthex(server, "session", "revoke", "--all", "--yes")
        until(client, token, ENDED)


@pytest.mark.parametrize(("stale", "then"), [("ask", AWAY), ("refuse", AWAY), ("accept", (200, "grace@example.com"))])
def test_when_the_list_is_cut_off_it_is_as_the_readme_says(
    start: Callable[..., Server], stale: str, then: tuple[int, str]
) -> None:
    server = start(LISTED)
    ada, grace = signed_up(server), signed_up(server, "grace@example.com")
    tokens = [ada.token(), grace.token()]
    with following(server, stale=stale, longest_age=2, long_poll=1) as client:
        # Who refuses what nobody can know about waits for the first list.
        until(client, tokens[1], (200, "grace@example.com"))
        ada.ask("/sign-out", {})
        until(client, tokens[0], ENDED)
        server.process.terminate()
        server.process.wait(timeout=20)
        if stale == "accept":
            time.sleep(3)
            assert answer(client, tokens[0]) == ENDED, "what is known stays known"
        until(client, tokens[1], then)


def test_who_does_not_show_the_secret_is_not_given_the_list(start: Callable[..., Server]) -> None:
    server = start(LISTED)
    token = signed_up(server).token()
    with following(server, secret="x" * 32) as client:
        assert answer(client, token) == AWAY


def test_a_server_that_starts_again_is_followed_again(start: Callable[..., Server]) -> None:
    server = start(LISTED)
    ada, grace = signed_up(server), signed_up(server, "grace@example.com")
    tokens, session = [ada.token(), grace.token()], session_id(ada)
    with following(server) as client:
        assert answer(client, tokens[0])[0] == 200
        server.process.terminate()
        assert server.process.wait(timeout=20) == 0, "who waits for news does not keep it from stopping"
        narthex(server, "session", "revoke", session)
        with (server.folder / "log").open("ab") as log:
            server.process = subprocess.Popen(
                [binary(), "serve"], cwd=server.folder, env={"PATH": os.environ["PATH"]}, stdout=log, stderr=log
            )
        until(client, tokens[0], ENDED)
        assert answer(client, tokens[1]) == (200, "grace@example.com")
