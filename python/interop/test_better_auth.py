"""What Narthex's package makes of Better Auth itself, on Node and without Narthex."""

import urllib.parse
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from conftest import Server, signed_up
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

from narthex import Auth, Authenticator, SessionOptions, User

ALGORITHMS = ["EdDSA", "ES256", "ES512", "RS256", "PS256"]
BOTH: dict[str, Any] = {"jwt": {}, "bearer": {}}

StartBetterAuth = Callable[..., Server]


def application(server: Server, **options: Any) -> TestClient:
    # Sessions are asked for each time, so that a sign-out is seen at once.
    auth = Auth(issuer=server.origin, **{"session_options": SessionOptions(lifetime=0), **options})
    app = FastAPI(lifespan=auth.lifespan)

    @app.get("/me")
    async def me(user: Annotated[User, Depends(auth.user())]) -> dict[str, Any]:
        return {"id": user.id, "email": user.email, "via": user.via}

    @app.post("/note")
    async def note(user: Annotated[User, Depends(auth.user())]) -> str:
        return user.id

    @app.get("/admin")
    async def admin(_user: Annotated[User, Depends(auth.require(role="admin"))]) -> bool:
        return True

    return TestClient(app)


def bearer(value: str) -> dict[str, str]:
    return {"authorization": f"Bearer {value}"}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_tokens_of_each_algorithm_are_verified_with_the_published_keys(
    start_better_auth: StartBetterAuth, algorithm: str
) -> None:
    server = start_better_auth({"jwt": {"jwks": {"keyPairConfig": {"alg": algorithm}}}})
    ada = signed_up(server)
    token = ada.token()
    user = Authenticator(issuer=server.origin).verify(token)
    assert (user.email, user.via, user.session_id) == ("ada@example.com", "token", None)

    with application(server) as client:
        answer = client.get("/me", headers=bearer(token))
        assert (answer.status_code, answer.json()) == (200, {"id": user.id, "email": user.email, "via": "token"})
        head, payload, signature = token.split(".")
        for other in (
            f"{head}.{payload}.{signature[::-1]}",
            f"{head}.{payload[::-1]}.{signature}",
            f"{head}.{payload}.",
        ):
            assert client.get("/me", headers=bearer(other)).status_code == 401
        assert client.get("/admin", headers=bearer(token)).status_code == 403
    with application(server, audience="https://other.example.com") as client:
        assert client.get("/me", headers=bearer(token)).status_code == 401


def test_sessions_are_asked_for_by_bearer_and_cookie_until_they_end(start_better_auth: StartBetterAuth) -> None:
    server = start_better_auth(BOTH)
    ada, other = signed_up(server), signed_up(server, "bob@example.com")
    signed = next(urllib.parse.unquote(cookie.value or "") for cookie in ada.jar if "session_token" in cookie.name)
    assert signed.count(".") == 1
    credentials = [
        (bearer(ada.session_token()), "session"),
        (bearer(signed), "session"),
        ({"cookie": ada.cookies}, "cookie"),
    ]
    with application(server, trusted_origins=[server.origin]) as client:
        for headers, via in credentials:
            answer = client.get("/me", headers=headers)
            assert (answer.status_code, answer.json()["via"]) == (200, via), headers
            assert answer.json()["email"] == "ada@example.com"
        # The same session in both places is one credential; two sessions are none.
        assert client.get("/me", headers={**bearer(signed), "cookie": ada.cookies}).status_code == 200
        assert client.get("/me", headers={**bearer(signed), "cookie": other.cookies}).status_code == 400
        assert client.get("/me", headers={"cookie": f"{ada.cookies}x"}).status_code == 401
        assert client.get("/me", headers=bearer("x" * 32)).status_code == 401
        # What changes something needs a page that is trusted, with a cookie only.
        assert client.post("/note", headers={"cookie": ada.cookies}).status_code == 403
        assert client.post("/note", headers={"cookie": ada.cookies, "origin": "https://evil.test"}).status_code == 403
        assert client.post("/note", headers={"cookie": ada.cookies, "origin": server.origin}).status_code == 200
        assert client.post("/note", headers=bearer(signed)).status_code == 200

        ada.ask("/sign-out", {})
        for headers, _ in credentials:
            assert client.get("/me", headers=headers).status_code == 401, headers
        assert client.get("/me", headers={"cookie": other.cookies}).status_code == 200


def test_cookies_by_other_names_are_found(start_better_auth: StartBetterAuth) -> None:
    for advanced, options in (
        ({"cookiePrefix": "shop"}, {"cookie_prefix": "shop"}),
        ({"cookies": {"session_token": {"name": "sid"}}}, {"cookie_name": "sid"}),
    ):
        server = start_better_auth(BOTH, advanced=advanced)
        ada = signed_up(server)
        with application(server, **options) as client:
            assert client.get("/me", headers={"cookie": ada.cookies}).json()["email"] == "ada@example.com"
        with application(server) as client:
            assert client.get("/me", headers={"cookie": ada.cookies}).status_code == 401


def test_a_sign_out_is_seen_although_the_browser_kept_its_cookie_cache(start_better_auth: StartBetterAuth) -> None:
    server = start_better_auth(BOTH, session={"cookieCache": {"enabled": True, "maxAge": 300}})
    ada = signed_up(server)
    ada.ask("/get-session")
    cookies = {"cookie": ada.cookies}
    assert "session_data" in ada.cookies
    with application(server) as client:
        assert client.get("/me", headers=cookies).json()["email"] == "ada@example.com"
        alone = "; ".join(pair for pair in ada.cookies.split("; ") if "session_data" in pair)
        assert client.get("/me", headers={"cookie": alone}).status_code == 401
        ada.ask("/sign-out", {})
        assert client.get("/me", headers=cookies).status_code == 401
    # Who says so believes the cache, as the server does: it is all there is of a session without a database.
    options = SessionOptions(lifetime=0, cookie_cache=True)
    with application(server, session_options=options) as client:
        assert client.get("/me", headers=cookies).json()["email"] == "ada@example.com"


def test_fields_roles_and_bans_are_read(start_better_auth: StartBetterAuth) -> None:
    fields = {"experienceLevel": {"type": "string", "input": False, "defaultValue": "beginner"}}
    server = start_better_auth({**BOTH, "admin": {"defaultRole": "admin"}}, user={"additionalFields": fields})
    ada, bob = signed_up(server), signed_up(server, "bob@example.com")

    class Reader(User):
        experience_level: str

    user = Authenticator[Reader](issuer=server.origin).verify(bob.token())
    assert (user.experience_level, user.roles, user["banned"]) == ("beginner", frozenset({"admin"}), False)
    session = bearer(bob.session_token())
    with application(server) as client:
        assert client.get("/admin", headers=session).status_code == 200
        assert client.get("/admin", headers=bearer(bob.token())).status_code == 200
        ada.ask("/admin/ban-user", {"userId": user.id})
        assert client.get("/admin", headers=session).status_code == 401


def test_another_audience_and_issuer_of_the_servers_options(start_better_auth: StartBetterAuth) -> None:
    options = {"jwt": {"issuer": "https://issuer.example.com", "audience": "https://api.example.com"}}
    server = start_better_auth({"jwt": options})
    token = signed_up(server).token()
    auth = Authenticator(issuer="https://issuer.example.com", audience="https://api.example.com", url=server.origin)
    assert auth.verify(token).email == "ada@example.com"


def test_keys_that_are_replaced_are_found(start_better_auth: StartBetterAuth) -> None:
    """Every token has a key of its own: each time the last one has ended."""
    server = start_better_auth({"jwt": {"jwks": {"rotationInterval": 0.001, "gracePeriod": 600}}})
    ada = signed_up(server)
    tokens = [ada.token() for _ in range(5)]
    assert len({token.split(".")[0] for token in tokens}) == 5
    auth = Authenticator(issuer=server.origin)
    for token in tokens:
        assert auth.verify(token).email == "ada@example.com"


def test_a_removed_member_keeps_the_active_organization(start_better_auth: StartBetterAuth) -> None:
    """Why there is no `require(org=...)`. If this fails, Better Auth has changed, and there may be one."""
    server = start_better_auth({**BOTH, "organization": {}})
    owner, member = signed_up(server, "owner@example.com"), signed_up(server, "member@example.com")
    organization = owner.ask("/organization/create", {"name": "Acme", "slug": "acme"})
    invitation = owner.ask(
        "/organization/invite-member",
        {"email": "member@example.com", "role": "member", "organizationId": organization["id"]},
    )
    member.ask("/organization/accept-invitation", {"invitationId": invitation["id"]})
    owner.ask(
        "/organization/remove-member",
        {"memberIdOrEmail": "member@example.com", "organizationId": organization["id"]},
    )
    members = owner.ask(f"/organization/list-members?organizationId={organization['id']}")["members"]
    assert [one["role"] for one in members] == ["owner"]
    assert member.ask("/get-session")["session"]["activeOrganizationId"] == organization["id"]
