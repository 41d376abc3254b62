"""FastAPI, over HTTP and WebSockets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import pytest
from fastapi import Depends, FastAPI, WebSocket
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from narthex import Auth, ConfigurationError, Event, User
from narthex.testing import FakeClock, Issuer
from support import SECRET

PAGE = "https://app.test"


class Reader(User):
    experience_level: Literal["beginner", "intermediate", "advanced"]
    organization: str | None = None


events: list[Event] = []
auth = Auth(issuer="https://auth.test", trusted_origins=[PAGE], observer=events.append)
typed = Auth[Reader](issuer="https://auth.test")
app = FastAPI(lifespan=auth.lifespan)

CurrentUser = Annotated[User, Depends(auth.user())]
MaybeUser = Annotated[User | None, Depends(auth.optional_user())]
CurrentReader = Annotated[Reader, Depends(typed.user())]
Admin = Annotated[User, Depends(auth.require(role=["admin", "owner"]))]


@app.get("/me")
async def me(user: CurrentUser) -> dict[str, Any]:
    return {"id": user.id, "level": user.get("experienceLevel")}


@app.get("/sync")
def sync(user: CurrentUser) -> str:
    return str(user["id"])


@app.get("/whole")
async def whole(user: CurrentUser) -> User:
    return user


@app.post("/notes/{note}")
async def change(note: str, user: CurrentUser) -> str:
    return f"{user.id} {note}"


@app.get("/maybe")
async def maybe(user: MaybeUser) -> str | None:
    return user.id if user else None


@app.get("/admin")
async def admin(user: Admin, same: CurrentUser) -> bool:
    return user is same


@app.get("/advanced", dependencies=[Depends(auth.require(experience_level="advanced", email_verified=True))])
async def advanced() -> str:
    return "welcome"


@app.get("/scoped", dependencies=[Depends(auth.require(scope=["read", "write"]))])
async def scoped() -> str:
    return "welcome"


@app.get("/named")
async def named(user: Annotated[User, Depends(auth.get_current_user)]) -> str:
    return user.id


@app.get("/reader")
async def reader(user: CurrentReader) -> list[str | None]:
    return [user.experience_level, user.organization]


@app.websocket("/socket")
async def socket(websocket: WebSocket, user: CurrentUser) -> None:
    await websocket.accept("bearer" if "bearer" in websocket.scope["subprotocols"] else None)
    await websocket.send_text(user.id)
    await websocket.close()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer(clock=FakeClock())
    events.clear()
    with issuer.serving(auth), issuer.serving(typed):
        yield issuer


@pytest.fixture
def client() -> TestClient:
    return TestClient(app)


def test_a_token_lets_in(issuer: Issuer, client: TestClient) -> None:
    headers = issuer.bearer("user-1", experienceLevel="advanced")
    assert client.get("/me", headers=headers).json() == {"id": "user-1", "level": "advanced"}
    assert client.get("/sync", headers=headers).json() == "user-1"
    assert client.get("/named", headers=headers).json() == "user-1"
    assert client.get("/whole", headers=headers).json()["experienceLevel"] == "advanced"


def test_without_a_credential_the_answer_is_401_and_names_the_scheme(issuer: Issuer, client: TestClient) -> None:
    response = client.get("/me")
    assert (response.status_code, response.json()) == (401, {"detail": "Not authenticated"})
    assert response.headers["www-authenticate"] == "Bearer"


def test_a_bad_token_is_401_and_says_what_is_wrong_with_it(issuer: Issuer, client: TestClient) -> None:
    response = client.get("/me", headers=issuer.bearer(expires_in=-1))
    assert (response.status_code, response.json()) == (401, {"detail": "The token has expired"})
    assert response.headers["www-authenticate"] == (
        'Bearer error="invalid_token", error_description="The token has expired"'
    )
    response = client.get("/me", headers=issuer.bearer(iss="https://evil.test"))
    assert (response.status_code, response.json()) == (401, {"detail": "The token is not valid"})


def test_an_optional_user_is_none_without_a_credential_and_never_with_a_bad_one(
    issuer: Issuer, client: TestClient
) -> None:
    assert client.get("/maybe").json() is None
    assert client.get("/maybe", headers=issuer.bearer("user-2")).json() == "user-2"
    assert client.get("/maybe", headers=issuer.bearer(expires_in=-1)).status_code == 401
    assert client.get("/maybe", headers={"Authorization": "Bearer nonsense.x.y"}).status_code == 401


def test_two_authorization_headers_are_400(issuer: Issuer, client: TestClient) -> None:
    header = issuer.bearer()["Authorization"]
    response = client.get("/me", headers=[("Authorization", header), ("Authorization", header)])
    assert (response.status_code, response.json()) == (400, {"detail": "More than one Authorization header"})
    response = client.get("/me", headers={**issuer.bearer(), **issuer.cookie()})
    assert response.status_code == 400


def test_what_is_missing_is_said_with_403(issuer: Issuer, client: TestClient) -> None:
    assert client.get("/admin", headers=issuer.bearer(role="owner,user")).json() is True
    assert client.get("/admin").status_code == 401
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("/admin", {}, "Requires the role admin or owner"),
        ("/admin", {"role": "administrator"}, "Requires the role admin or owner"),
        ("/advanced", {"experienceLevel": "advanced", "emailVerified": False}, "Requires a verified email address"),
        ("/advanced", {"experienceLevel": "beginner"}, "Requires experience_level to be advanced"),
        ("/advanced", {}, "Requires experience_level to be advanced"),
        ("/scoped", {"scope": "read"}, "Requires the scope write"),
        ("/reader", {}, "The account has no valid experienceLevel"),
        ("/reader", {"experienceLevel": "expert"}, "The account has no valid experienceLevel"),
        ("/reader", {"experienceLevel": "advanced", "organization": 5}, "The account has no valid organization"),
    ]
    for path, claims, detail in cases:
        response = client.get(path, headers=issuer.bearer(**claims))
        assert (response.status_code, response.json()) == (403, {"detail": detail})
    response = client.get("/scoped", headers=issuer.bearer(scope="read"))
    assert response.headers["www-authenticate"] == 'Bearer error="insufficient_scope", scope="read write"'
    assert client.get("/scoped", headers=issuer.bearer(scope="write read")).json() == "welcome"
    assert client.get("/advanced", headers=issuer.bearer(experienceLevel="advanced")).json() == "welcome"


def test_declared_fields_are_typed(issuer: Issuer, client: TestClient) -> None:
    headers = issuer.bearer(experienceLevel="advanced", organization="Narthex")
    assert client.get("/reader", headers=headers).json() == ["advanced", "Narthex"]
    assert client.get("/reader", headers=issuer.bearer(experienceLevel="beginner")).json() == ["beginner", None]


def test_a_cookie_lets_in_and_changes_need_a_trusted_page(issuer: Issuer, client: TestClient) -> None:
    cookie = issuer.cookie("user-3")
    assert client.get("/me", headers=cookie).json()["id"] == "user-3"
    response = client.post("/notes/1", headers=cookie)
    assert (response.status_code, response.json()) == (
        403,
        {"detail": "A request with a session cookie needs an Origin header"},
    )
    response = client.post("/notes/1", headers={**cookie, "Origin": "https://evil.test"})
    assert (response.status_code, response.json()) == (403, {"detail": "The page's origin is not in trusted_origins"})
    assert client.post("/notes/1", headers={**cookie, "Origin": PAGE}).json() == "user-3 1"
    assert client.post("/notes/1", headers=issuer.bearer("user-3")).json() == "user-3 1"


def test_when_nobody_can_be_asked_the_answer_is_503(issuer: Issuer, client: TestClient) -> None:
    issuer.away = True
    response = client.get("/me", headers=issuer.bearer())
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert response.json() == {"detail": "Authentication is not available at the moment"}


def test_websockets_take_a_header_a_subprotocol_or_a_cookie_of_a_trusted_page(
    issuer: Issuer, client: TestClient
) -> None:
    token = issuer.token("user-4")
    with client.websocket_connect("/socket", headers={"Authorization": f"Bearer {token}"}) as connection:
        assert connection.receive_text() == "user-4"
    with client.websocket_connect("/socket", subprotocols=["bearer", token]) as connection:
        assert connection.accepted_subprotocol == "bearer"
        assert connection.receive_text() == "user-4"
    with client.websocket_connect("/socket", headers={**issuer.cookie("user-5"), "Origin": PAGE}) as connection:
        assert connection.receive_text() == "user-5"
    refused: list[dict[str, Any]] = [
        {},
        {"headers": {"Authorization": "Bearer x.y.z"}},
        {"subprotocols": ["bearer"]},
        {"subprotocols": ["bearer", token, "more"]},
        {"headers": issuer.cookie()},
        {"headers": {**issuer.cookie(), "Origin": "https://evil.test"}},
    ]
    for options in refused:
        with pytest.raises(WebSocketDisconnect) as caught, client.websocket_connect("/socket", **options):
            pass
        assert caught.value.code == 1008


def test_openapi_says_how_to_sign_in(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    schemes = document["components"]["securitySchemes"]
    assert schemes["bearer"]["type"] == "http"
    assert (schemes["bearer"]["scheme"], schemes["bearer"]["bearerFormat"]) == ("bearer", "JWT")
    assert (schemes["session"]["type"], schemes["session"]["in"]) == ("apiKey", "cookie")
    assert schemes["session"]["name"] == "better-auth.session_token"
    for path in ("/me", "/admin", "/maybe", "/advanced"):
        operation = document["paths"][path]["get"]
        assert operation["security"] == [{"bearer": []}, {"session": []}]
        assert "parameters" not in operation


def test_without_cookies_openapi_offers_none() -> None:
    with_secret = Auth(secret=SECRET)
    small = FastAPI()

    @small.get("/")
    async def root(user: User = Depends(with_secret.user())) -> str:
        return user.id

    assert list(small.openapi()["components"]["securitySchemes"]) == ["bearer"]


def test_a_factory_without_parentheses_is_refused_where_the_route_is_declared() -> None:
    for factory in (auth.user, auth.optional_user, auth.require):
        with pytest.raises(TypeError, match="with the parentheses"):
            FastAPI().get("/")(lambda user=Depends(factory): "open to everybody")


def test_a_requirement_that_requires_nothing_is_refused() -> None:
    wrong: list[dict[str, Any]] = [
        {},
        {"role": []},
        {"role": ""},
        {"scope": [""]},
        {"email_verified": False},
        {"plan": []},
        {"plan": None},
    ]
    for options in wrong:
        with pytest.raises(ConfigurationError):
            auth.require(**options)


def test_tests_of_applications_can_override_the_user(client: TestClient) -> None:
    app.dependency_overrides[auth.user()] = lambda: User({"id": "fake", "role": "admin"})
    try:
        assert client.get("/me").json()["id"] == "fake"
        assert client.get("/admin").json() is True
    finally:
        app.dependency_overrides.clear()


def test_endpoints_and_activity_are_counted(issuer: Issuer, client: TestClient) -> None:
    client.post("/notes/17", headers=issuer.bearer("user-9", experienceLevel="advanced", role="admin"))
    client.get("/admin", headers=issuer.bearer("user-9"))
    success, checked, refused = events
    assert (success.outcome, success.kind, success.method, success.user_id) == ("success", "token", "POST", "user-9")
    # The route, not the path: otherwise each note would be a series of its own.
    assert success.endpoint == "/notes/{note}"
    assert success.activity == {"experienceLevel": "advanced", "role": "admin"}
    assert checked.outcome == "success"
    assert (refused.outcome, refused.reason, refused.endpoint) == ("failure", "role", "/admin")
    assert 'endpoint="/notes/{note}"' in auth.metrics.render()


def test_the_lifespan_starts_and_stops(issuer: Issuer) -> None:
    with TestClient(app) as client:
        assert client.get("/me", headers=issuer.bearer()).status_code == 200


def test_two_verifiers_in_one_application_do_not_see_each_others_users(issuer: Issuer, client: TestClient) -> None:
    stranger = Auth(issuer="https://other.test")
    both = FastAPI()

    @both.get("/")
    async def root(one: User = Depends(auth.user()), two: User = Depends(stranger.user())) -> list[str]:
        return [one.id, two.id]

    other = Issuer("https://other.test", clock=issuer.clock)
    with other.serving(stranger):
        assert TestClient(both).get("/", headers=issuer.bearer()).status_code == 401
        assert TestClient(both).get("/", headers=other.bearer()).status_code == 401
