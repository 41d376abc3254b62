"""Revoked sessions and users, followed from a server on this machine."""

from __future__ import annotations

import json
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from narthex import Authenticator, AuthError, ConfigurationError, InvalidCredential, RevocationOptions
from narthex.errors import Unavailable
from narthex.jose import decode_base64url
from narthex.revocations import AUDIENCE, Stale, backoff, hashed
from narthex.testing import FakeClock, Issuer
from support import ISSUER, SECRET, Server, answer, hs256


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def issuer(clock: FakeClock) -> Issuer:
    return Issuer(ISSUER, clock=clock)


class Feed:
    """A server's `/jwks` and `/revocations`."""

    def __init__(self, server: Server, issuer: Issuer):
        self.issuer = issuer
        self.body: str | None = None
        self.status = 200
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.held = threading.Event()
        server.handler = self

    def __call__(self, connection: BaseHTTPRequestHandler) -> None:
        if connection.path.endswith("/jwks"):
            answer(200, self.issuer.jwks())(connection)
            return
        self.asked.append((connection.path, {name.lower(): value for name, value in connection.headers.items()}))
        # Long polls are held until the test is over: what is checked here is asked for without them.
        if "wait=" in connection.path:
            self.held.wait(5)
        body = self.body if self.body is not None else self.issuer.revocations()
        answer(self.status, body.encode(), ETag=f'"{len(self.asked)}"')(connection)


@pytest.fixture
def feed(server: Server, issuer: Issuer) -> Iterator[Feed]:
    feed = Feed(server, issuer)
    yield feed
    feed.held.set()


def follower(server: Server, clock: FakeClock, stale: Stale = "ask", **options: Any) -> Authenticator:
    settings = RevocationOptions(stale=stale, timeout=2, **options)
    return Authenticator(issuer=ISSUER, url=server.url, clock=clock, revocations=settings)


@contextmanager
def following(
    server: Server, clock: FakeClock, feed: Feed, stale: Stale = "ask", **options: Any
) -> Iterator[Authenticator]:
    """With the thread waiting on the server, so that it does nothing beside the test."""
    with follower(server, clock, stale, **options) as auth:
        waiting(feed)
        yield auth


def waiting(feed: Feed) -> None:
    for _ in range(500):
        if any("wait=" in path for path, _ in feed.asked):
            return
        time.sleep(0.01)
    raise AssertionError("the thread does not follow")


def token(issuer: Issuer, sub: str = "user-1", **claims: Any) -> str:
    """As a server makes them that publishes the list: it names a session."""
    return issuer.token(sub, **{"sid": "a-session", **claims})


def claims_of(text: str) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads(decode_base64url(text.split(".")[1]))
    return payload


def outcome(auth: Authenticator, text: str) -> str:
    try:
        return auth.verify(text).id
    except AuthError as error:
        return error.reason


def poll(auth: Authenticator) -> bool:
    """Asks once, as the thread does."""
    assert auth._revocations is not None
    return auth._revocations.poll(wait=0)


def test_a_revoked_session_ends_its_tokens_and_no_others(
    server: Server, clock: FakeClock, issuer: Issuer, feed: Feed
) -> None:
    with following(server, clock, feed) as auth:
        first, second = issuer.token(sid="s1"), issuer.token(sid="s2")
        assert (outcome(auth, first), outcome(auth, second)) == ("user-1", "user-1")
        issuer.revoke_session("s1")
        assert poll(auth)
        assert (outcome(auth, first), outcome(auth, second)) == ("revoked", "user-1")
        with pytest.raises(InvalidCredential) as caught:
            auth.verify(first)
        assert (caught.value.status, caught.value.detail) == (401, "The session has ended")
        assert auth.status()["revocations"] == 2


def test_a_revoked_user_loses_the_tokens_from_before(
    server: Server, clock: FakeClock, issuer: Issuer, feed: Feed
) -> None:
    with following(server, clock, feed) as auth:
        old, of_another, undated = token(issuer), token(issuer, "user-2"), token(issuer, iat=None)
        issuer.revoke_user("user-1")
        poll(auth)
        assert [outcome(auth, one) for one in (old, of_another, undated)] == ["revoked", "user-2", "revoked"]
        clock.advance(1)
        assert outcome(auth, token(issuer)) == "user-1"


def test_everybody_can_be_revoked(server: Server, clock: FakeClock, issuer: Issuer, feed: Feed) -> None:
    with following(server, clock, feed) as auth:
        old = token(issuer)
        issuer.revoke_everybody()
        poll(auth)
        assert outcome(auth, old) == "revoked"
        clock.advance(1)
        assert outcome(auth, token(issuer)) == "user-1"


def test_an_entry_is_the_first_half_of_a_hash() -> None:
    # SHA-256 of "abc" begins with ba7816bf8f01cfea414140de5dae2223.
    assert hashed("abc") == "ungWv48Bz-pBQUDeXa4iIw"


def test_an_older_list_is_refused_when_it_is_replayed(
    server: Server, clock: FakeClock, issuer: Issuer, feed: Feed
) -> None:
    with following(server, clock, feed) as auth:
        text = issuer.token(sid="s1")
        older = issuer.revocations()
        issuer.revoke_session("s1")
        poll(auth)
        assert outcome(auth, text) == "revoked"
        feed.body = older
        with pytest.raises(ValueError, match="list 1 is older than 2"):
            poll(auth)
        assert outcome(auth, text) == "revoked"
        # The same number from an earlier moment is a replay as well.
        feed.body = issuer.revocations(iat=int(clock.now()) - 10, entries=[])
        with pytest.raises(ValueError, match="older"):
            poll(auth)
        assert outcome(auth, text) == "revoked"


def test_a_server_whose_numbers_begin_anew_is_followed_once_the_last_list_has_ended(
    server: Server, clock: FakeClock, issuer: Issuer, feed: Feed, caplog: pytest.LogCaptureFixture
) -> None:
    """As after the server's database was restored from a backup."""
    with following(server, clock, feed) as auth:
        for number in range(4):
            issuer.revoke_session(f"s{number}")
        captured = issuer.revocations(exp=int(clock.now()) + 100_000)
        poll(auth)
        issuer.revoke_session("gone")
        poll(auth)
        assert auth.status()["revocations"] == 6
        issuer._number, issuer._entries = 2, []
        for seconds in (61, 238):
            clock.advance(seconds)
            with pytest.raises(ValueError, match="list 2 is older than 6"):
                poll(auth)
            assert outcome(auth, token(issuer)) == "unavailable"
        clock.advance(1)
        # What was signed before the last list is a replay for ever, whatever its own end.
        feed.body = captured
        with pytest.raises(ValueError, match="list 5 is older than 6"):
            poll(auth)
        feed.body = None
        assert poll(auth)
        assert auth.status()["revocations"] == 2
        assert outcome(auth, token(issuer)) == "user-1"
        assert "the numbers of the list began anew, at 2" in caplog.text


def test_instances_of_a_server_may_sign_the_same_list_by_different_clocks(
    server: Server, clock: FakeClock, issuer: Issuer, feed: Feed
) -> None:
    with following(server, clock, feed) as auth:
        poll(auth)
        feed.body = issuer.revocations(iat=int(clock.now()) - 5)
        assert not poll(auth)
        feed.body = issuer.revocations(iat=int(clock.now()) - 11)
        with pytest.raises(ValueError, match="older"):
            poll(auth)


def test_a_token_of_the_second_of_the_revocation_goes_by_what_the_server_wrote(
    server: Server, clock: FakeClock, issuer: Issuer, feed: Feed
) -> None:
    """Only what was issued before the moment is revoked: for "all until now" the server writes the next second."""
    with following(server, clock, feed) as auth:
        now = int(clock.now())
        text = token(issuer, iat=now)
        for entry, expected in (
            (["u", hashed("user-1"), now], "user-1"),
            (["u", hashed("user-1"), now + 1], "revoked"),
            (["g", now], "user-1"),
            (["g", now + 0.5], "revoked"),
        ):
            issuer._entries = []
            issuer._revoke(entry)
            poll(auth)
            assert outcome(auth, text) == expected, entry


def test_a_token_that_names_no_session_is_refused_unless_it_is_accepted(
    server: Server, clock: FakeClock, issuer: Issuer, feed: Feed
) -> None:
    text = issuer.token()
    with following(server, clock, feed) as auth:
        assert outcome(auth, text) == "no_session_id"
        with pytest.raises(InvalidCredential) as caught:
            auth.verify(text)
        assert (caught.value.status, caught.value.detail) == (401, "The token is not valid")
        assert "without_session" in str(caught.value)
        for sid in ("", None):
            assert outcome(auth, issuer.sign({**claims_of(text), "sid": sid})) in ("invalid", "no_session_id")
    with following(server, clock, feed, without_session="accept") as auth:
        assert outcome(auth, text) == "user-1"
        # What the list says of users and of everybody holds for it as well.
        issuer.revoke_user("user-1")
        poll(auth)
        assert outcome(auth, text) == "revoked"
    # Who follows no list loses nothing by a token without a session.
    with Authenticator(issuer=ISSUER, url=server.url, clock=clock) as auth:
        assert outcome(auth, text) == "user-1"


def test_the_issuer_for_tests_names_sessions_where_the_list_is_followed(clock: FakeClock, issuer: Issuer) -> None:
    follows = Authenticator(issuer=ISSUER, clock=clock, revocations=True)
    with issuer.serving(follows):
        assert outcome(follows, issuer.token()) == "user-1"
        issuer.revoke_session("session-of-user-1")
        assert outcome(follows, issuer.token()) == "revoked"
        assert outcome(follows, issuer.token("user-2")) == "user-2"
    with issuer.serving(alone := Authenticator(issuer=ISSUER, clock=clock)):
        assert alone.verify(issuer.token()).session_id is None


def test_mistakes_in_the_options_are_told_at_once() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"stale": "fail"}, "stale: must be one of refuse, ask, accept"),
        ({"without_session": "ask"}, "without_session: must be one of refuse, accept"),
    ]
    for options, text in wrong:
        with pytest.raises(ConfigurationError, match=text):
            RevocationOptions(**options)


def test_a_list_is_no_token_and_a_token_no_list(server: Server, clock: FakeClock, issuer: Issuer, feed: Feed) -> None:
    with following(server, clock, feed) as auth:
        as_token = issuer.revocations(sub="admin", aud=ISSUER)
        assert outcome(auth, as_token) == "malformed"
        for body in (
            issuer.token(),
            issuer.token(aud=AUDIENCE, seq=9, entries=[]),
            issuer.revocations(aud=ISSUER),
            issuer.revocations(aud=[AUDIENCE]),
            issuer.revocations(aud=None),
            issuer.sign({}, typ="JWT"),
        ):
            feed.body = body
            with pytest.raises(ValueError, match="no list of revocations"):
                poll(auth)


def test_a_list_that_is_not_understood_or_not_signed_is_refused(
    server: Server, clock: FakeClock, issuer: Issuer, feed: Feed
) -> None:
    now = int(clock.now())
    stranger = Issuer(ISSUER, clock=clock)
    head, payload, signature = issuer.revocations().split(".")
    bodies = [
        stranger.revocations(),
        f"{head}.{payload}.{signature[::-1]}",
        hs256(
            {"iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 9, "seq": 9, "entries": []}, typ="revocations+jwt"
        ),
        issuer.sign(claims_of(issuer.revocations()), typ="revocations+jwt", kid=None),
        issuer.revocations(iss="https://evil.test"),
        issuer.revocations(exp=now),
        issuer.revocations(exp=None),
        issuer.revocations(iat=None),
        issuer.revocations(iat=now + 60),
        issuer.revocations(iat=True),
        issuer.revocations(seq="2"),
        issuer.revocations(seq=True),
        issuer.revocations(seq=2.5),
        issuer.revocations(entries=None),
        "",
        "é",
    ]
    for entry in (
        [],
        ["s"],
        ["s", 1],
        ["u", "x"],
        ["u", "x", "1"],
        ["u", "x", True],
        ["g"],
        ["g", False],
        ["x", "y"],
        "s",
    ):
        bodies.append(issuer.revocations(entries=[entry]))
    with following(server, clock, feed) as auth:
        assert outcome(auth, token(issuer)) == "user-1"
        for body in bodies:
            feed.body = body
            with pytest.raises((ValueError, AuthError)):
                poll(auth)
        assert auth.status()["revocations"] == 1


@pytest.mark.parametrize(
    ("stale", "expected"), [("ask", "unavailable"), ("refuse", "unavailable"), ("accept", "user-1")]
)
def test_without_a_list_each_way_to_act_is_kept_to(
    server: Server, clock: FakeClock, issuer: Issuer, feed: Feed, stale: Stale, expected: str
) -> None:
    feed.status = 500
    with follower(server, clock, stale) as auth:
        assert outcome(auth, token(issuer)) == expected


@pytest.mark.parametrize(
    ("stale", "expected"), [("ask", "unavailable"), ("refuse", "unavailable"), ("accept", "user-1")]
)
@pytest.mark.parametrize("reason", ["expired", "unconfirmed"])
def test_a_stale_list_is_acted_on_as_configured(
    server: Server, clock: FakeClock, issuer: Issuer, feed: Feed, stale: Stale, expected: str, reason: str
) -> None:
    issuer.revoke_session("gone")
    options = {"longest_age": 1000} if reason == "expired" else {}
    with following(server, clock, feed, stale, **options) as auth:
        good, gone = issuer.token(sid="good"), issuer.token(sid="gone")
        poll(auth)
        assert (outcome(auth, good), outcome(auth, gone)) == ("user-1", "revoked")
        feed.status = 503
        clock.advance(299 if reason == "expired" else 60)
        assert (outcome(auth, good), outcome(auth, gone)) == ("user-1", "revoked")
        clock.advance(1)
        assert outcome(auth, good) == expected
        # What is known to be revoked is never let in.
        assert outcome(auth, gone) in ("revoked", "unavailable")


def test_ask_fetches_the_list_for_the_request_that_needs_it(
    server: Server, clock: FakeClock, issuer: Issuer, feed: Feed
) -> None:
    with following(server, clock, feed) as auth:
        text = issuer.token(sid="s1")
        assert outcome(auth, text) == "user-1"
        issuer.revoke_session("s1")
        clock.advance(61)
        assert outcome(auth, text) == "revoked"


def test_ask_asks_at_most_once_a_second(server: Server, clock: FakeClock, issuer: Issuer, feed: Feed) -> None:
    with following(server, clock, feed) as auth:
        assert outcome(auth, token(issuer)) == "user-1"
        feed.status = 500
        clock.advance(61)
        before = len([path for path, _ in feed.asked if "wait=" not in path])
        for _ in range(20):
            assert outcome(auth, token(issuer)) == "unavailable"
        assert len([path for path, _ in feed.asked if "wait=" not in path]) == before + 1


def test_an_unchanged_list_is_confirmed_but_never_beyond_its_own_end(
    server: Server, clock: FakeClock, issuer: Issuer, feed: Feed
) -> None:
    with following(server, clock, feed, longest_age=1000) as auth:
        poll(auth)
        tag = f'"{len(feed.asked)}"'
        feed.status = 304
        feed.body = ""
        assert not poll(auth)
        assert feed.asked[-1][1]["if-none-match"] == tag
        # Near its end the list itself is asked for, because a confirmation does not move that.
        clock.advance(295)
        with pytest.raises(Exception, match="answered 304"):
            poll(auth)
        assert "if-none-match" not in feed.asked[-1][1]
        # The thread does not wait for news then either: the list would end meanwhile.
        feed.status, feed.body = 200, None
        assert auth._revocations is not None
        auth._revocations.poll(wait=25)
        assert "wait=" not in feed.asked[-1][0]
        assert outcome(auth, token(issuer)) == "user-1"


def test_the_thread_waits_on_the_server_for_news_and_close_ends_it(
    server: Server, clock: FakeClock, issuer: Issuer, feed: Feed
) -> None:
    auth = follower(server, clock, secret="the-revocations-secret")
    auth.start()
    waiting(feed)
    path, headers = feed.asked[-1]
    assert urllib.parse.parse_qs(urllib.parse.urlsplit(path).query) == {"wait": ["25"], "after": ["1"]}
    assert headers["authorization"] == "Bearer the-revocations-secret"
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("narthex-revocations") == 1
    auth.close()
    assert "narthex-revocations" not in [thread.name for thread in threading.enumerate()]
    # A late request does not start it again, and asks for itself.
    clock.advance(61)
    assert outcome(auth, token(issuer)) == "user-1"
    assert "wait=" not in feed.asked[-1][0]
    assert "narthex-revocations" not in [thread.name for thread in threading.enumerate()]
    # Who opens it again has a thread again.
    with auth:
        feed.asked.clear()
        waiting(feed)
        assert outcome(auth, token(issuer)) == "user-1"


def test_news_reach_a_waiting_thread_at_once(server: Server, clock: FakeClock, issuer: Issuer, feed: Feed) -> None:
    with following(server, clock, feed) as auth:
        text = issuer.token(sid="s1")
        assert outcome(auth, text) == "user-1"
        issuer.revoke_session("s1")
        feed.held.set()
        for _ in range(500):
            if outcome(auth, text) == "revoked":
                break
            time.sleep(0.01)
        assert outcome(auth, text) == "revoked"


def test_lists_are_verified_with_the_shared_secret_as_well(server: Server, clock: FakeClock) -> None:
    issuer = Issuer(ISSUER, secret=SECRET, clock=clock)
    feed = Feed(server, issuer)
    auth = Authenticator(secret=SECRET, url=server.url, clock=clock, revocations=True)
    with auth:
        text = issuer.token(sid="s1")
        assert outcome(auth, text) == "user-1"
        issuer.revoke_session("s1")
        assert poll(auth)
        assert outcome(auth, text) == "revoked"
        assert outcome(auth, issuer.revocations(sub="x")) == "malformed"
        feed.held.set()


def test_revocations_reach_what_is_remembered_of_sessions(clock: FakeClock, issuer: Issuer) -> None:
    auth = Authenticator(issuer=ISSUER, clock=clock, revocations=RevocationOptions())
    with issuer.serving(auth):
        from narthex import Request

        session = issuer.session("user-1")
        request = Request("GET", [f"Bearer {session}"], [])
        assert auth.authenticate(request).id == "user-1"
        issuer.revoke_session(f"session-{session[:8]}")
        with pytest.raises(InvalidCredential):
            auth.authenticate(request)


def test_the_pause_after_failures_grows_up_to_a_minute() -> None:
    for failures, longest in ((1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (1000, 60)):
        assert longest / 2 <= backoff(failures) <= longest


def test_the_secret_of_the_list_is_not_shown() -> None:
    assert "hidden" not in repr(RevocationOptions(secret="hidden"))


def test_a_list_without_a_server_to_ask_is_unavailable(clock: FakeClock, issuer: Issuer) -> None:
    auth = Authenticator(issuer=ISSUER, clock=clock, revocations=True)
    with issuer.serving(auth):
        assert outcome(auth, token(issuer)) == "user-1"
        issuer.away = True
        clock.advance(61)
        with pytest.raises(Unavailable):
            auth.verify(token(issuer))
