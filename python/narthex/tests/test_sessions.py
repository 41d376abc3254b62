"""Cookies and session tokens, which only the server understands."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.parse
from collections.abc import Mapping
from typing import Any

import pytest

from narthex import (
    AmbiguousCredential,
    Authenticator,
    AuthError,
    ConfigurationError,
    Forbidden,
    InvalidCredential,
    NotAuthenticated,
    Request,
    SessionOptions,
    Unavailable,
)
from narthex.fetch import Abort, Response
from narthex.testing import FakeClock, Issuer
from support import ISSUER, SECRET, Server, answer

PAGE = "https://app.test"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def session_body(clock: FakeClock, **changes: Any) -> dict[str, Any]:
    from narthex.testing import _date

    session = {"id": "s1", "userId": "user-1", "expiresAt": _date(clock.now() + 3600), **changes.pop("session", {})}
    return {"session": session, "user": {"id": "user-1", "email": "a@example.com", **changes}}


def asking(server: Server, clock: FakeClock, **options: Any) -> Authenticator:
    return Authenticator(issuer=ISSUER, url=server.url, clock=clock, trusted_origins=[PAGE], **options)


def request(
    cookie: str | None = None, bearer: str | None = None, method: str = "GET", origin: str | None = None, **more: Any
) -> Request:
    return Request(
        method,
        [] if bearer is None else [f"Bearer {bearer}"],
        [] if cookie is None else [cookie],
        [] if origin is None else [origin],
        **more,
    )


def outcome(auth: Authenticator, what: Request) -> str:
    try:
        return auth.authenticate(what).id
    except AuthError as error:
        return error.reason


COOKIE = "better-auth.session_token=abc.sig%3D"


def test_only_the_servers_own_cookies_are_forwarded(server: Server, clock: FakeClock) -> None:
    server.handler = answer(200, session_body(clock))
    auth = asking(server, clock)
    cookie = (
        "theme=dark; better-auth.session_token=abc.sig%3D; tracking=1; better-auth.session_data.1=two; "
        "better-auth.session_data.0=one; better-auth.session_data.x=no; better-auth.two_factor=no; "
        "other.session_token=no; xbetter-auth.session_token=no; broken"
    )
    user = auth.authenticate(request(cookie))
    assert (user.id, user.email, user.session_id, user.via) == ("user-1", "a@example.com", "s1", "cookie")
    path, headers = server.asked[0]
    assert path == "/api/auth/get-session?disableCookieCache=true&disableRefresh=true"
    assert headers["cookie"] == "better-auth.session_token=abc.sig%3D"
    assert "authorization" not in headers
    # The server's copy of the session, where there is no other.
    auth = asking(server, clock, session_options=SessionOptions(cookie_cache=True))
    auth.authenticate(request(cookie))
    path, headers = server.asked[1]
    assert path == "/api/auth/get-session?disableRefresh=true"
    assert headers["cookie"] == (
        "better-auth.session_data.0=one; better-auth.session_data.1=two; better-auth.session_token=abc.sig%3D"
    )


def test_an_answer_about_another_session_lets_nobody_in(server: Server, clock: FakeClock) -> None:
    for token, expected in (
        ("abc", "user-1"),
        ("abd", "unavailable"),
        ("ab", "unavailable"),
        ("", "unavailable"),
        (7, "unavailable"),
    ):
        server.handler = answer(200, session_body(clock, session={"token": token}))
        for one in (request(COOKIE), request(bearer="abc"), request(bearer="abc.c2ln"), request(bearer="abc%2Ec2ln")):
            assert outcome(asking(server, clock), one) == expected, (token, one)


def test_what_the_server_says_of_the_session_is_there_without_its_token(server: Server, clock: FakeClock) -> None:
    server.handler = answer(200, session_body(clock, session={"token": "abc", "impersonatedBy": "admin-1"}))
    auth = asking(server, clock)
    user = auth.authenticate(request(COOKIE))
    assert user.session_fields["impersonatedBy"] == "admin-1"
    assert "token" not in user.session_fields
    # What one request does to it is not remembered for the next.
    vars(user)["session_fields"].clear()
    assert auth.authenticate(request(COOKIE)).session_fields["impersonatedBy"] == "admin-1"
    assert len(server.asked) == 1
    issuer = Issuer(ISSUER, clock=clock)
    with issuer.serving(auth := Authenticator(issuer=ISSUER, clock=clock)):
        assert auth.verify(issuer.token()).session_fields == {}


def test_the_session_cookie_may_have_a_name_of_its_own(server: Server, clock: FakeClock) -> None:
    server.handler = answer(200, session_body(clock))
    auth = asking(server, clock, cookie_name="sid")
    assert outcome(auth, request(f"{COOKIE}; xsid=1; sid.session_token=2")) == "missing"
    assert outcome(auth, request(f"{COOKIE}; sid=abc.sig")) == "user-1"
    assert server.asked[-1][1]["cookie"] == "sid=abc.sig"
    assert outcome(auth, request("sid=abc.sig; __Secure-sid=def.sig")) == "user-1"
    assert server.asked[-1][1]["cookie"] == "__Secure-sid=def.sig"
    assert outcome(auth, request("sid=abc.sig; sid=def.sig")) == "ambiguous"
    # The same session twice is one credential.
    assert outcome(auth, request("sid=abc.sig", bearer="abc")) == "user-1"
    assert outcome(auth, request("sid=abc.sig", bearer="def")) == "ambiguous"
    for name in ("a b", "a;b", "a=b", "__Secure-sid", "é"):
        with pytest.raises(ConfigurationError, match="cookie_name"):
            asking(server, clock, cookie_name=name)


def test_a_secure_cookie_goes_before_one_that_anybody_on_the_network_may_set(server: Server, clock: FakeClock) -> None:
    server.handler = answer(200, session_body(clock))
    auth = asking(server, clock)
    auth.authenticate(request(f"{COOKIE}; __Secure-better-auth.session_token=def.sig; better-auth.session_data=x"))
    assert server.asked[0][1]["cookie"] == "__Secure-better-auth.session_token=def.sig"


def test_a_session_token_is_asked_for_as_a_bearer(server: Server, clock: FakeClock) -> None:
    server.handler = answer(200, session_body(clock))
    user = asking(server, clock).authenticate(request(bearer="abc.c2ln+/="))
    assert (user.id, user.via) == ("user-1", "session")
    assert server.asked[0][1]["authorization"] == "Bearer abc.c2ln+/="
    assert "cookie" not in server.asked[0][1]


def test_an_answer_is_believed_for_a_moment(server: Server, clock: FakeClock) -> None:
    server.handler = answer(200, session_body(clock))
    auth = asking(server, clock)
    for _ in range(5):
        assert outcome(auth, request(COOKIE)) == "user-1"
    assert len(server.asked) == 1
    # Another order of the same cookies is the same credential, another kind is not.
    assert outcome(auth, request(f"a=b; {COOKIE}")) == "user-1"
    assert len(server.asked) == 1
    server.handler = answer(200, b"null")
    clock.advance(9)
    assert outcome(auth, request(COOKIE)) == "user-1"
    clock.advance(1)
    assert outcome(auth, request(COOKIE)) == "no_session"
    assert outcome(auth, request(COOKIE)) == "no_session"
    assert len(server.asked) == 2


def test_an_answer_is_never_believed_beyond_the_sessions_end(server: Server, clock: FakeClock) -> None:
    from narthex.testing import _date

    server.handler = answer(200, session_body(clock, session={"expiresAt": _date(clock.now() + 3)}))
    auth = asking(server, clock)
    assert outcome(auth, request(COOKIE)) == "user-1"
    clock.advance(3)
    assert outcome(auth, request(COOKIE)) == "no_session"
    assert len(server.asked) == 2


def test_memory_for_answers_is_bounded(server: Server, clock: FakeClock) -> None:
    server.handler = answer(200, session_body(clock))
    auth = asking(server, clock, session_options=SessionOptions(most_cached=2))
    for name in ("a", "b", "c"):
        assert outcome(auth, request(bearer=name)) == "user-1"
    assert auth._sessions is not None
    assert len(auth._sessions._answers) == 2
    outcome(auth, request(bearer="c"))
    assert len(server.asked) == 3
    outcome(auth, request(bearer="a"))
    assert len(server.asked) == 4
    # Nothing in memory can be turned back into a credential.
    assert all(isinstance(key, bytes) and len(key) == 32 for key in auth._sessions._answers)


def test_who_asks_for_the_same_session_shares_the_question(clock: FakeClock) -> None:
    release, asked = threading.Event(), []

    def transport(
        url: str, headers: Mapping[str, str], *, seconds: float, largest: int, abort: Abort | None = None
    ) -> Response:
        asked.append(url)
        release.wait(5)
        return Response(200, {}, json.dumps(session_body(clock)).encode())

    auth = Authenticator(issuer=ISSUER, clock=clock, fetch=transport)

    async def run() -> list[str]:
        tasks = [asyncio.create_task(auth.authenticate_async(request(COOKIE))) for _ in range(20)]
        while not asked:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0)
        release.set()
        return [user.id for user in await asyncio.gather(*tasks)]

    assert asyncio.run(run()) == ["user-1"] * 20
    assert len(asked) == 1


def test_too_many_questions_at_once_are_refused_with_503(clock: FakeClock) -> None:
    release, asked = threading.Event(), []

    def transport(
        url: str, headers: Mapping[str, str], *, seconds: float, largest: int, abort: Abort | None = None
    ) -> Response:
        asked.append(url)
        release.wait(5)
        return Response(200, {}, b"null")

    auth = Authenticator(issuer=ISSUER, clock=clock, fetch=transport)

    async def run() -> list[Any]:
        tasks = [asyncio.create_task(auth.authenticate_async(request(bearer=f"t{number}"))) for number in range(80)]
        while len(asked) < 64:
            await asyncio.sleep(0.01)
        release.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    kinds = [type(result) for result in asyncio.run(run())]
    assert (kinds.count(InvalidCredential), kinds.count(Unavailable)) == (64, 16)


@pytest.mark.parametrize(
    ("status", "reason"), [(401, "no_session"), (403, "no_session"), (404, "unavailable"), (500, "unavailable")]
)
def test_what_the_server_answers_decides_between_401_and_503(
    server: Server, clock: FakeClock, status: int, reason: str
) -> None:
    server.handler = answer(status, b"")
    assert outcome(asking(server, clock), request(COOKIE)) == reason


def test_a_failure_is_not_remembered_and_its_pause_is_handed_on(server: Server, clock: FakeClock) -> None:
    auth = asking(server, clock)
    server.handler = answer(429, b"", X_Retry_After="7")
    with pytest.raises(Unavailable) as caught:
        auth.authenticate(request(COOKIE))
    assert caught.value.headers == {"Retry-After": "7"}
    server.handler = answer(200, session_body(clock))
    assert outcome(auth, request(COOKIE)) == "user-1"


def test_an_answer_that_is_not_understood_lets_nobody_in(server: Server, clock: FakeClock) -> None:
    auth = asking(server, clock)
    bodies: list[object] = [
        b"",
        b"<html>",
        b"[]",
        {},
        {"session": {}, "user": None},
        session_body(clock, id=""),
        session_body(clock, id=5),
        session_body(clock, id="user-2"),
        session_body(clock, session={"expiresAt": 5}),
        session_body(clock, session={"expiresAt": "soon"}),
        session_body(clock, session={"expiresAt": None}),
        session_body(clock, session={"id": 5}),
        json.dumps(session_body(clock)).encode()[:-1] + b', "user": {"id": "admin"}}',
    ]
    for body in bodies:
        server.handler = answer(200, body)
        assert outcome(auth, request(COOKIE)) == "unavailable"
    server.handler = answer(200, session_body(clock, session={"expiresAt": "2027-01-15T07:59:59"}))
    assert outcome(auth, request(COOKIE)) == "no_session"


def test_something_that_changes_needs_the_origin_of_a_trusted_page(server: Server, clock: FakeClock) -> None:
    server.handler = answer(200, session_body(clock))
    auth = asking(server, clock)
    for method in ("GET", "HEAD", "OPTIONS", "get"):
        assert outcome(auth, request(COOKIE, method=method)) == "user-1"
        assert outcome(auth, request(COOKIE, method=method, origin="https://evil.test")) == "user-1"
    asked = len(server.asked)
    for method in ("POST", "PUT", "PATCH", "DELETE", "MADE-UP"):
        assert outcome(auth, request(COOKIE, method=method, origin=PAGE)) == "user-1"
        for origin in (None, "", "null", "https://evil.test", f"{PAGE}.evil.test", "http://app.test", f"{PAGE}:444"):
            with pytest.raises(Forbidden) as caught:
                auth.authenticate(request(COOKIE, method=method, origin=origin))
            assert (caught.value.status, caught.value.reason) == (403, "origin")
            assert "rigin" in caught.value.detail
    two = Request("POST", [], [COOKIE], [PAGE, "https://evil.test"])
    assert outcome(auth, two) == "origin"
    # Refused before the server is asked.
    assert len(server.asked) == asked
    # Who holds a token needs no origin: no page of others can send it.
    assert outcome(auth, request(bearer="abc", method="POST")) == "user-1"


def test_a_websocket_with_a_cookie_needs_the_origin_as_well(server: Server, clock: FakeClock) -> None:
    server.handler = answer(200, session_body(clock))
    auth = asking(server, clock)
    assert outcome(auth, request(COOKIE, websocket=True)) == "origin"
    assert outcome(auth, request(COOKIE, websocket=True, origin="https://evil.test")) == "origin"
    assert outcome(auth, request(COOKIE, websocket=True, origin=PAGE)) == "user-1"


def test_two_credentials_are_refused(clock: FakeClock) -> None:
    issuer = Issuer(ISSUER, clock=clock)
    auth = Authenticator(issuer=ISSUER, clock=clock)
    with issuer.serving(auth):
        token, session, other = issuer.token(), issuer.session(), issuer.session()
        cookie = f"better-auth.session_token={session}.c2ln"
        ambiguous = [
            Request("GET", [f"Bearer {token}", f"Bearer {token}"], []),
            Request("GET", [f"Bearer {token}", "Basic eDp5"], []),
            request(cookie, bearer=token),
            request(cookie, bearer=other),
            request(f"{cookie}; better-auth.session_token={other}.c2ln"),
            Request("GET", [], [cookie, cookie]),
            request(bearer=token, websocket=True, protocols=[f"bearer, {session}"]),
        ]
        for what in ambiguous:
            with pytest.raises(AmbiguousCredential) as caught:
                auth.authenticate(what)
            assert caught.value.status == 400
            assert caught.value.headers["WWW-Authenticate"].startswith('Bearer error="invalid_request"')
        # The same session twice is one credential.
        assert auth.authenticate(request(cookie, bearer=session)).id == "user-1"
        assert auth.authenticate(request(cookie, bearer=urllib.parse.quote(f"{session}.c2ln"))).id == "user-1"
        assert outcome(auth, request(cookie, bearer=f"{session}.b3Ro")) == "ambiguous"
    # Who does not take cookies does not see them.
    without = Authenticator(issuer=ISSUER, clock=clock, cookies=False)
    with issuer.serving(without):
        assert without.authenticate(request(cookie, bearer=issuer.token())).id == "user-1"
        assert outcome(without, request(cookie)) == "missing"


def test_no_credential_and_a_bad_one_are_told_apart(clock: FakeClock) -> None:
    issuer = Issuer(ISSUER, clock=clock)
    auth = Authenticator(issuer=ISSUER, clock=clock)
    with issuer.serving(auth):
        for none in (request(), request("theme=dark"), Request("GET", ["Basic eDp5"], []), Request("GET", [""], [])):
            assert auth.optional(none) is None
            with pytest.raises(NotAuthenticated):
                auth.authenticate(none)
        for header in (
            "Bearer",
            "Bearer ",
            "bearer  ",
            "BEARER a b",
            "Bearer \x00",
            "Bearer " + "x" * 1025,
            "Bearer é",
        ):
            with pytest.raises(InvalidCredential):
                auth.optional(Request("GET", [header], []))
        for cookie in ("better-auth.session_token=a\x01b", "better-auth.session_token=" + "x" * 66000):
            with pytest.raises(InvalidCredential):
                auth.optional(request(cookie))
        assert auth.optional(request("better-auth.session_data=x")) is None


def test_where_a_user_is_optional_a_cookie_of_an_ended_session_is_none_and_a_token_of_one_is_refused(
    clock: FakeClock,
) -> None:
    issuer = Issuer(ISSUER, clock=clock)
    auth = Authenticator(issuer=ISSUER, clock=clock, revocations=True)
    with issuer.serving(auth):
        session = issuer.session()
        cookie = f"better-auth.session_token={session}.c2ln"
        found = auth.optional(request(cookie))
        assert found is not None
        assert found.id == "user-1"
        issuer.revoke_session(f"session-{session[:8]}")
        assert auth.optional(request(cookie)) is None
        assert auth.optional(request("better-auth.session_token=unknown.c2ln")) is None
        for bearer in (session, "unknown"):
            with pytest.raises(InvalidCredential):
                auth.optional(request(bearer=bearer))
        for what in (request(cookie), request(bearer=session)):
            assert outcome(auth, what) == "revoked"
        with pytest.raises(Forbidden):
            auth.optional(request(issuer.cookie(banned=True)["Cookie"]))


def test_session_tokens_are_refused_where_they_are_not_taken(clock: FakeClock) -> None:
    for auth in (
        Authenticator(issuer=ISSUER, clock=clock, session_tokens=False),
        Authenticator(secret=SECRET, clock=clock),
    ):
        with pytest.raises(InvalidCredential, match="not accepted here"):
            auth.authenticate(request(bearer="abc"))


def test_a_banned_user_is_refused_until_the_ban_ends(clock: FakeClock) -> None:
    from narthex.testing import _date

    issuer = Issuer(ISSUER, clock=clock)
    auth = Authenticator(issuer=ISSUER, clock=clock)
    later, before = _date(clock.now() + 60), _date(clock.now())
    with issuer.serving(auth):
        for end in (None, later, 5, "whenever"):
            with pytest.raises(Forbidden) as caught:
                auth.authenticate(request(bearer=issuer.token(banned=True, banExpires=end)))
            assert (caught.value.detail, caught.value.reason) == ("The account is banned", "banned")
            session = issuer.session(banned=True, banExpires=end)
            assert outcome(auth, request(bearer=session)) == "banned"
        assert outcome(auth, request(bearer=issuer.token(banned=True, banExpires=before))) == "user-1"
        assert outcome(auth, request(bearer=issuer.token(banned=False))) == "user-1"
        assert outcome(auth, request(bearer=issuer.session(banned=None))) == "user-1"


def test_the_issuer_in_memory_signs_in_and_out(clock: FakeClock) -> None:
    issuer = Issuer(ISSUER, clock=clock)
    auth = Authenticator(issuer=ISSUER, clock=clock)
    with issuer.serving(auth):
        session = issuer.session("user-7", role="admin", expires_in=60)
        assert auth.authenticate(request(bearer=session)).role == "admin"
        issuer.sign_out(session)
        clock.advance(10)
        assert outcome(auth, request(bearer=session)) == "no_session"
        cookie = issuer.cookie("user-8")["Cookie"]
        assert outcome(auth, request(cookie)) == "user-8"
        issuer.away = True
        clock.advance(10)
        assert outcome(auth, request(cookie)) == "unavailable"
