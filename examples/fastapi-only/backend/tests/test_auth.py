"""Unit, integration, security, performance and end-to-end tests of signing up, signing in and what follows."""

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient
from narthex.fetch import fetch
from narthex.testing import FakeClock, Issuer
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from backend.auth import services
from backend.auth.dependencies import auth
from backend.auth.main import application
from backend.auth.models import Reader, ReaderRow, engine
from backend.auth.schemas import SignUp, Tokens
from backend.config import Settings
from backend.tests.conftest import PASSWORD, Connect, Somebody, addresses

# Unit: services and settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("software", "hardware", "chapter"),
    [
        ("Python", "soldering", services.SIMULATION),
        ("Python", None, services.SENSORS),
        (None, "soldering", services.NODES),
        (None, None, services.FIRST_STEPS),
        ("", "", services.FIRST_STEPS),
    ],
)
def test_the_first_chapter_follows_from_the_background(
    software: str | None, hardware: str | None, chapter: str
) -> None:
    reader = Reader({"id": "1", "software_background": software, "hardware_background": hardware})
    assert services.first_chapter(reader)[0] == chapter


def test_a_database_is_named_once_for_narthex_and_for_sqlalchemy() -> None:
    sqlite = Settings(database_url="sqlite:///var/lib/app.db")
    assert sqlite.sqlalchemy_url.render_as_string() == "sqlite:////var/lib/app.db"
    postgres = Settings(database_url="postgres://me:secret@db:5433/app?sslmode=require")
    written = postgres.sqlalchemy_url.render_as_string(hide_password=False)
    assert written == "postgresql+psycopg://me:secret@db:5433/app?sslmode=require"


# Integration: the endpoints, and the database behind them -------------------------------------------------------


def test_signing_up_answers_tokens_and_keeps_the_background(client: TestClient) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    body = {
        "name": "Grace",
        "email": "Grace@Example.com",
        "password": PASSWORD,
        "software_background": "COBOL",
        "hardware_background": None,
    }
    answer = client.post("/auth/signup", json=body)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    tokens: Any = Tokens.model_validate(answer.json())
    assert (tokens.token_type, tokens.expires_in) == ("bearer", 900)
    with Session(engine) as session:
        row = session.scalars(select(ReaderRow).where(ReaderRow.id == tokens.user.id)).one()
    assert (row.name, row.email) == ("Grace", "grace@example.com")
    assert (row.software_background, row.hardware_background) == ("COBOL", None)
    written = row.created_at if row.created_at.tzinfo else row.created_at.replace(tzinfo=UTC)
    assert written >= before
    assert row.created_at == row.updated_at


def test_signing_in_answers_tokens_that_the_application_takes(ada: Somebody) -> None:
    answer = ada.sign_in()
    assert answer.status_code == 200
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    profile = ada.client.get("/readers/me", headers=headers)
    assert profile.json() == {
        "id": ada.id,
        "name": "Ada",
        "email": ada.email,
        "software_background": "Python",
        "hardware_background": "soldering",
    }


def test_signing_in_by_oauths_form_is_for_the_documentation(ada: Somebody) -> None:
    form = {"grant_type": "password", "username": ada.email, "password": PASSWORD, "scope": "", "client_id": ""}
    answer = ada.client.post("/auth/signin", data=form)
    assert (answer.status_code, answer.json()["token_type"]) == (200, "bearer")


def test_readers_with_the_same_background_are_counted(connect: Connect) -> None:
    background = {"software_background": "Prolog", "hardware_background": "relays"}
    first = Somebody(connect(), **background)
    assert first.get("/readers/me/suggestion").json() == {
        "chapter": services.SIMULATION,
        "because": "you know software and hardware",
        "readers_like_you": 0,
    }
    for _ in range(2):
        Somebody(connect(), **background)
    Somebody(connect(), software_background="Prolog")
    assert first.get("/readers/me/suggestion").json()["readers_like_you"] == 2


def test_the_model_of_signing_up_writes_what_narthex_takes(client: TestClient) -> None:
    new = SignUp(name="Alan", email="alan@example.com", password=PASSWORD, software_background="bombe")
    answer = client.post("/auth/signup", json=new.model_dump(exclude_unset=True))
    assert (answer.status_code, answer.json()["user"]["software_background"]) == (200, "bombe")


def test_the_documentation_has_the_fields_of_the_configuration(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    content = document["paths"]["/auth/signup"]["post"]["requestBody"]["content"]["application/json"]
    for name in ("software_background", "hardware_background"):
        assert content["schema"]["properties"][name]["type"] == ["string", "null"]
        assert name in content["example"]
        assert name in document["components"]["schemas"]["AuthUser"]["properties"]
    assert content["schema"]["required"] == ["name", "email", "password"]
    flow = document["components"]["securitySchemes"]["OAuth2PasswordBearer"]["flows"]["password"]
    assert flow["tokenUrl"] == "auth/signin"
    assert "422" not in document["paths"]["/auth/signin"]["post"]["responses"]


REFUSED = [
    b"",
    b"{",
    b"[]",
    b'{"email":"ada@example.com"}',
    b'{"name":"Ada","email":"nobody","password":"correct horse battery"}',
    b'{"name":"Ada","email":"ada@example.com","password":"short"}',
    b'{"name":"Ada","email":"ada@example.com","password":1}',
    b'{"name":"Ada","email":"ada@example.com","password":"correct horse battery","software_background":7}',
    b'{"name":"Ada","email":"ada@example.com","password":"' + b"a" * 200 + b'"}',
    b"[" * 10_000,
    b"a" * (1024 * 1024 + 1),
]


@pytest.mark.parametrize("body", REFUSED, ids=lambda body: body[:40].decode())
def test_what_is_refused_is_answered_in_narthexs_own_words(connect: Connect, app: Any, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    answer = connect().post("/auth/signup", content=body, headers=headers)
    path = f"{app.state.narthex.base_path}/token-api/signup"
    with httpx2.Client(transport=httpx2.HTTPTransport(uds=str(app.state.narthex.socket))) as narthex:
        straight = {**headers, "x-forwarded-for": next(addresses)}
        asked = narthex.post(f"http://localhost:8000{path}", content=body, headers=straight)
    assert (answer.status_code, answer.content) == (asked.status_code, asked.content)
    assert 400 <= answer.status_code < 500
    assert answer.json().keys() == {"message", "code"}


def test_an_address_that_is_taken_is_refused(ada: Somebody, client: TestClient) -> None:
    answer = client.post("/auth/signup", json={"name": "Eve", "email": ada.email.upper(), "password": PASSWORD})
    assert (answer.status_code, answer.json()["code"]) == (422, "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL")


# Security -------------------------------------------------------------------------------------------------------


def test_passwords_are_hashed_with_bcrypt_and_shown_nowhere(ada: Somebody) -> None:
    with engine.connect() as connection:
        hashed = connection.scalar(text("SELECT hashed_password FROM accounts WHERE user_id = :id"), {"id": ada.id})
    assert hashed.startswith("$2b$10$")
    everything = json.dumps([ada.tokens, ada.get("/auth/me").json(), ada.get("/readers/me").json()])
    assert hashed not in everything
    assert "hashed_password" not in everything


def test_who_does_not_exist_and_a_wrong_password_are_answered_alike(ada: Somebody, client: TestClient) -> None:
    wrong = ada.sign_in("not the password")
    unknown = client.post("/auth/signin", json={"email": "nobody@example.com", "password": PASSWORD})
    assert (wrong.status_code, wrong.content) == (unknown.status_code, unknown.content)
    assert (wrong.status_code, wrong.json()["code"]) == (401, "INVALID_EMAIL_OR_PASSWORD")


def test_a_token_ends_after_a_quarter_of_an_hour(ada: Somebody) -> None:
    clock = FakeClock(time.time())
    with auth.asking(fetch, clock):
        assert ada.get("/readers/me").status_code == 200
        clock.advance(901)
        answer = ada.get("/readers/me")
    assert (answer.status_code, answer.json()) == (401, {"detail": "The token has expired"})


def forged(ada: Somebody) -> dict[str, str]:
    token = ada.tokens["access_token"]
    head, payload, signature = token.split(".")
    elsewhere = Issuer("http://localhost:8000")
    return {
        "another signature": f"{head}.{payload}.{signature[:-4]}AAAA",
        "no signature": f"{head}.{payload}.",
        "no algorithm": f"eyJhbGciOiJub25lIn0.{payload}.",
        "keys of somebody else": elsewhere.token(ada.id),
        "another issuer": Issuer("http://evil.example").token(ada.id),
        "a refresh token": ada.tokens["refresh_token"],
        "nothing": "",
    }


def test_tokens_that_narthex_did_not_issue_are_refused(ada: Somebody) -> None:
    for what, token in forged(ada).items():
        for path in ("/readers/me", "/auth/me"):
            answer = ada.client.get(path, headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == 401, (what, path)
            assert answer.headers["www-authenticate"].startswith("Bearer"), (what, path)


def test_without_a_token_nothing_is_told(client: TestClient) -> None:
    for path in ("/readers/me", "/readers/me/suggestion", "/auth/me"):
        assert client.get(path).status_code == 401


@pytest.mark.parametrize(
    "text_of_an_attack", ["' OR '1'='1", "'; DROP TABLE users; --", "<script>alert(1)</script>", "\u0000"]
)
def test_what_is_typed_stays_text(connect: Connect, text_of_an_attack: str) -> None:
    client = connect()
    for credentials in (
        {"email": text_of_an_attack, "password": PASSWORD},
        {"email": "a@b.co", "password": text_of_an_attack},
    ):
        answer = client.post("/auth/signin", json=credentials)
        assert answer.status_code in (400, 401)
        assert answer.headers["content-type"] == "application/json"
    somebody = Somebody(connect(), software_background=text_of_an_attack.replace("\u0000", "?"))
    profile = somebody.get("/readers/me").json()
    assert profile["software_background"] == text_of_an_attack.replace("\u0000", "?")


@pytest.mark.parametrize("field", ["id", "emailVerified", "createdAt", "role", "hashed_password"])
def test_nobody_chooses_what_is_not_theirs_to_choose(client: TestClient, field: str) -> None:
    body = {"name": "Eve", "email": f"{field}@example.com", "password": PASSWORD, field: "1"}
    answer = client.post("/auth/signup", json=body)
    if answer.status_code == 200:
        assert answer.json()["user"].get(field) != "1"
    else:
        assert answer.status_code == 400


def test_guessing_is_limited_for_each_client_whatever_it_says_it_is(connect: Connect) -> None:
    client = connect()
    guess = {"email": "victim@example.com", "password": "a guess of mine"}
    answers = [
        client.post("/auth/signin", json=guess, headers={"x-forwarded-for": f"203.0.113.{number}"})
        for number in range(5)
    ]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
    assert int(answers[-1].headers["x-retry-after"]) > 0
    assert connect().post("/auth/signin", json=guess).status_code == 401


def test_tokens_come_without_cookies(ada: Somebody) -> None:
    for answer in (ada.sign_in(), ada.get("/auth/me")):
        assert answer.status_code == 200
        assert "set-cookie" not in answer.headers


def test_signing_out_ends_the_session_and_no_other(ada: Somebody, connect: Connect) -> None:
    elsewhere = ada.sign_in(client=connect()).json()
    assert ada.client.post("/auth/signout", headers=ada.bearer).json() == {"success": True}
    assert ada.get("/auth/me").status_code == 401
    refresh = {"refresh_token": ada.tokens["refresh_token"]}
    assert ada.client.post("/auth/refresh", json=refresh).status_code == 401
    assert ada.client.post("/auth/refresh", json={"refresh_token": elsewhere["refresh_token"]}).status_code == 200


def test_a_refresh_token_that_is_used_again_later_ends_the_session(ada: Somebody) -> None:
    def refresh(token: str) -> Any:
        return ada.client.post("/auth/refresh", json={"refresh_token": token})

    first = ada.tokens["refresh_token"]
    second = refresh(first).json()["refresh_token"]
    third = refresh(second).json()["refresh_token"]
    assert len({first, second, third}) == 3
    assert refresh(first).status_code == 401
    assert refresh(third).status_code == 401


def test_plain_http_is_led_to_https_where_users_come_with_https() -> None:
    secure = TestClient(
        application(Settings(better_auth_url="https://app.example.com")), base_url="http://app.example.com"
    )
    answer = secure.get("/readers/me", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "https://app.example.com/readers/me")


# Performance: what costs how much in relation, and not how long it takes ------------------------------------------


def test_a_hundred_requests_ask_narthex_once(ada: Somebody) -> None:
    asked = []

    def counting(url: str, headers: Any, **limits: Any) -> Any:
        asked.append(url)
        return fetch(url, headers, **limits)

    with auth.asking(counting):
        assert {ada.get("/readers/me/suggestion").status_code for _ in range(100)} == {200}
    assert asked == ["http://localhost:8000/api/auth/jwks"]


def test_a_token_costs_less_than_a_password(ada: Somebody, connect: Connect) -> None:
    def took(ask: Any) -> float:
        begin = time.perf_counter()
        assert ask().status_code == 200
        return time.perf_counter() - begin

    tokens = statistics.median(took(lambda: ada.get("/readers/me")) for _ in range(30))
    passwords = statistics.median(took(lambda: ada.sign_in(client=connect())) for _ in range(5))
    assert tokens < passwords


def test_many_may_come_at_once(connect: Connect) -> None:
    with ThreadPoolExecutor(20) as threads:
        ids = list(threads.map(lambda client: Somebody(client).id, [connect() for _ in range(40)]))
    assert len(set(ids)) == 40


# End to end: uvicorn, as it is started, and a client on the network ----------------------------------------------


def test_from_signing_up_to_signing_out_with_uvicorn() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "backend.auth.main:app", "--port", str(port)]
    uvicorn = subprocess.Popen(command, cwd=Path(__file__).parents[2], env=dict(os.environ))
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            wait_for(client, uvicorn)
            flow(client)
    finally:
        uvicorn.terminate()
        assert uvicorn.wait(timeout=30) in (0, -15)


def wait_for(client: httpx2.Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            assert client.get("/openapi.json").status_code == 200
        except httpx2.ConnectError:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


def flow(client: httpx2.Client) -> None:
    person = {"email": "end@example.com", "password": PASSWORD}
    tokens = client.post("/auth/signup", json={"name": "End", **person, "software_background": "Rust"}).json()
    assert client.get("/auth/me", headers=bearer(tokens)).json() == tokens["user"]
    assert client.get("/readers/me/suggestion", headers=bearer(tokens)).json()["chapter"] == services.SENSORS
    tokens = client.post("/auth/refresh", json={"refresh_token": tokens["refresh_token"]}).json()
    assert client.get("/readers/me", headers=bearer(tokens)).json()["software_background"] == "Rust"
    assert client.post("/auth/signout", headers=bearer(tokens)).json() == {"success": True}
    assert client.get("/auth/me", headers=bearer(tokens)).status_code == 401
    again = client.post("/auth/signin", json=person).json()
    assert again["user"] == tokens["user"]
    # The same person in a browser, whose session is in a cookie.
    signed_in = client.post("/api/auth/sign-in/email", json=person, headers={"origin": "http://localhost:8000"})
    assert signed_in.status_code == 200
    session = client.get("/api/auth/get-session").json()
    assert session["user"]["id"] == again["user"]["id"]


def bearer(tokens: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens['access_token']}"}
