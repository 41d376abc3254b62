"""What a client gets that asks Narthex through an application, and what Narthex is asked then."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import Depends, FastAPI, HTTPException
from fastapi.testclient import TestClient

from forwarding import Connection, Origin, origin, says
from narthex import ConfigurationError, forward
from narthex.fastapi import auth_router, better_auth_router

AWAY = b'{"message":"Authentication is not available at the moment","code":"SERVICE_UNAVAILABLE"}'


@pytest.fixture
def narthex() -> Iterator[Origin]:
    with origin() as running:
        yield running


def application(url: str | None) -> FastAPI:
    app = FastAPI()
    app.include_router(auth_router(url=url, openapi=None if url else {**PACKAGED}), prefix="/auth")
    app.include_router(better_auth_router(url=url), prefix="/api/auth")
    return app


PACKAGED: dict[str, Any] = {
    "paths": {
        "/token-api/me": {
            "get": {
                "responses": {
                    "200": {
                        "description": "Who.",
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/User"}}},
                    }
                }
            }
        }
    },
    "components": {"schemas": {"User": {"type": "object", "properties": {"id": {"type": "string"}}}}},
}


@pytest.fixture
def client(narthex: Origin) -> Iterator[TestClient]:
    with TestClient(application(narthex.url), client=("203.0.113.7", 50000)) as running:
        yield running


def test_a_request_is_handed_on_as_it_came(narthex: Origin, client: TestClient) -> None:
    body = b'{"email":"ada@example.com", "password":"correct horse battery"}\n'
    client.post(
        "/auth/signin?a=%2F&b",
        content=body,
        headers={
            "content-type": "application/json",
            "authorization": "Bearer x",
            "user-agent": "a test",
            "host": "app.test",
        },
    )
    asked = narthex.last
    assert (asked.method, asked.target, asked.body) == ("POST", "/api/auth/token-api/signin?a=%2F&b", body)
    for name, value in [
        ("content-type", "application/json"),
        ("authorization", "Bearer x"),
        ("user-agent", "a test"),
        ("host", "app.test"),
        ("content-length", str(len(body))),
    ]:
        assert asked.header(name) == [value]


@pytest.mark.parametrize("name", ["signup", "signin", "refresh", "signout"])
def test_what_posts_is_at_its_plain_name(narthex: Origin, client: TestClient, name: str) -> None:
    assert client.post(f"/auth/{name}").status_code == 200
    assert (narthex.last.method, narthex.last.target) == ("POST", f"/api/auth/token-api/{name}")
    assert client.get(f"/auth/{name}").status_code == 405


def test_me_is_read(narthex: Origin, client: TestClient) -> None:
    assert client.get("/auth/me").status_code == 200
    assert (narthex.last.method, narthex.last.target) == ("GET", "/api/auth/token-api/me")
    assert narthex.last.header("content-length") == []


def test_an_answer_is_handed_back_byte_for_byte(narthex: Origin, client: TestClient) -> None:
    refusal = b'{"message":"[body.email] Invalid email","code":"VALIDATION_ERROR"} '
    narthex.handler = says(
        400,
        refusal,
        ("Content-Type", "application/json"),
        ("Set-Cookie", "a=1; Path=/; HttpOnly"),
        ("Set-Cookie", "b=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT"),
        ("WWW-Authenticate", "Bearer"),
        ("X-Retry-After", "7"),
    )
    answer = client.post("/auth/signup", content=b"not even JSON")
    assert (answer.status_code, answer.content) == (400, refusal)
    assert answer.headers.get_list("set-cookie") == [
        "a=1; Path=/; HttpOnly",
        "b=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT",
    ]
    assert answer.headers["content-length"] == str(len(refusal))
    assert (answer.headers["www-authenticate"], answer.headers["x-retry-after"]) == ("Bearer", "7")


def test_what_is_about_a_connection_stays_there(narthex: Origin, client: TestClient) -> None:
    narthex.handler = says(
        200, b"{}", ("Connection", "X-Hop"), ("X-Hop", "1"), ("Keep-Alive", "timeout=5"), ("X-End", "2")
    )
    gone = {
        "connection": "x-mine, keep-alive",
        "x-mine": "1",
        "te": "trailers",
        "upgrade": "websocket",
        "proxy-authorization": "x",
    }
    answer = client.post("/auth/signin", headers={**gone, "expect": "100-continue", "x-yours": "2"}, content=b"{}")
    for name in [*gone, "expect"]:
        assert narthex.last.header(name) == [], name
    assert narthex.last.header("x-yours") == ["2"]
    # `Date` and `Server` are what the application's own server says.
    for name in ("connection", "x-hop", "keep-alive", "date", "server"):
        assert name not in answer.headers
    assert answer.headers["x-end"] == "2"


def test_a_body_in_pieces_becomes_one_with_a_length(narthex: Origin, client: TestClient) -> None:
    client.post("/auth/signin", content=iter([b'{"email":', b'"x"}']))
    assert narthex.last.body == b'{"email":"x"}'
    assert narthex.last.header("content-length") == ["13"]
    assert narthex.last.header("transfer-encoding") == []


FORGED = {
    "x-forwarded-for": "198.51.100.1",
    "x-forwarded-host": "evil.test",
    "x-forwarded-proto": "https",
    "forwarded": "for=198.51.100.1",
    "x-real-ip": "198.51.100.1",
    "cf-connecting-ip": "198.51.100.1",
    "true-client-ip": "198.51.100.1",
}


@pytest.mark.parametrize(
    ("client_address", "expected"),
    [
        (("203.0.113.7", 1), ["203.0.113.7"]),
        (("2001:db8::7", 1), ["2001:db8::7"]),
        (("fe80::7%eth0", 1), ["fe80::7"]),
        (("testclient", 1), []),
    ],
)
def test_who_the_client_is_says_the_server_and_not_the_client(
    narthex: Origin, client_address: tuple[str, int], expected: list[str]
) -> None:
    with TestClient(application(narthex.url), client=client_address) as client:
        client.post("/auth/signin", headers=FORGED)
        client.get("/api/auth/get-session", headers=FORGED)
    for asked in narthex.asked:
        assert asked.header("x-forwarded-for") == expected
        for name in FORGED.keys() - {"x-forwarded-for"}:
            assert asked.header(name) == []


def test_a_socket_without_addresses_says_nobody(narthex: Origin) -> None:
    status, _headers, _body = asyncio.run(asgi(application(narthex.url), "GET", "/auth/me", client=None))
    assert status == 200
    assert narthex.last.header("x-forwarded-for") == []


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
def test_the_client_of_better_auth_reaches_everything(narthex: Origin, client: TestClient, method: str) -> None:
    narthex.handler = says(200, b'{"ok":true}')
    answer = client.request(method, "/api/auth/reset-password/a b%25?callbackURL=%2F", headers={"cookie": "a=1; b=2"})
    asked = narthex.last
    assert (asked.method, asked.target) == (method, "/api/auth/reset-password/a%20b%25?callbackURL=%2F")
    assert asked.header("cookie") == ["a=1; b=2"]
    assert answer.content == (b"" if method == "HEAD" else b'{"ok":true}')
    assert answer.headers["content-length"] == "11"


def test_what_leads_elsewhere_is_not_followed(narthex: Origin, client: TestClient) -> None:
    narthex.handler = says(302, b"", ("Location", "https://accounts.example/o?x=1"))
    answer = client.get("/api/auth/callback/google?code=1", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (302, "https://accounts.example/o?x=1")


def test_an_answer_in_pieces_gets_a_length(narthex: Origin, client: TestClient) -> None:
    def pieces(connection: Connection) -> None:
        connection.send_response(200)
        connection.send_header("Transfer-Encoding", "chunked")
        connection.end_headers()
        connection.wfile.write(b"2\r\n{}\r\n1\r\n\n\r\n0\r\n\r\n")

    narthex.handler = pieces
    answer = client.get("/auth/me")
    assert (answer.content, answer.headers["content-length"]) == (b"{}\n", "3")
    assert "transfer-encoding" not in answer.headers


def test_an_answer_without_a_body_gets_no_length(narthex: Origin, client: TestClient) -> None:
    def head_only(connection: Connection) -> None:
        connection.send_response(200)
        connection.end_headers()

    narthex.handler = head_only
    assert "content-length" not in client.head("/api/auth/ok").headers


def test_nothing_is_answered_for_a_body_that_is_too_large(narthex: Origin, client: TestClient) -> None:
    fits, larger = b"a" * forward.LARGEST_BODY, b"a" * (forward.LARGEST_BODY + 1)
    assert client.post("/auth/signin", content=fits).status_code == 200
    answer = client.post("/auth/signin", content=larger)
    assert answer.status_code == 413
    assert answer.content == b'{"message":"The request body is too large","code":"PAYLOAD_TOO_LARGE"}'
    assert [len(asked.body) for asked in narthex.asked] == [forward.LARGEST_BODY]


def test_a_body_that_does_not_come_is_not_waited_for(narthex: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "BODY_TIMEOUT", 0.01)

    async def never() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    status, headers, body = asyncio.run(asgi(application(narthex.url), "POST", "/auth/signin", receive=never))
    assert (status, headers["content-type"]) == (408, "application/json")
    assert body == b'{"message":"The request body did not arrive in time","code":"REQUEST_TIMEOUT"}'
    assert narthex.asked == []


def test_a_client_that_leaves_before_its_body_has_come_asks_nothing(narthex: Origin) -> None:
    async def left() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    asyncio.run(asgi(application(narthex.url), "POST", "/auth/signin", receive=left))
    assert narthex.asked == []


def test_blanks_around_a_value_are_none_of_it(narthex: Origin) -> None:
    headers = [(b"authorization", b"Bearer "), (b"x-mine", b"\t a b \t")]
    status, _headers, _body = asyncio.run(asgi(application(narthex.url), "GET", "/auth/me", headers=headers))
    assert (status, narthex.last.header("authorization"), narthex.last.header("x-mine")) == (200, ["Bearer"], ["a b"])


def test_headers_that_are_none_are_the_clients_mistake(narthex: Origin) -> None:
    status, _headers, body = asyncio.run(
        asgi(application(narthex.url), "GET", "/auth/me", headers=[(b"x-bad", b"a\x00b")])
    )
    assert (status, body) == (400, b'{"message":"A header of the request is not valid","code":"BAD_REQUEST"}')
    assert narthex.asked == []


def closes(connection: Connection) -> None:
    connection.close_connection = True


def is_huge(connection: Connection) -> None:
    connection.send_response(200)
    connection.send_header("Content-Length", str(forward.LARGEST_ANSWER + 1))
    connection.end_headers()
    connection.wfile.write(b" " * (forward.LARGEST_ANSWER + 1))


def is_cut_off(connection: Connection) -> None:
    connection.send_response(200)
    connection.send_header("Content-Length", "10")
    connection.end_headers()
    connection.wfile.write(b"{")
    connection.close_connection = True


def is_no_http(connection: Connection) -> None:
    connection.wfile.write(b"SSH-2.0\r\n\r\n")
    connection.close_connection = True


@pytest.mark.parametrize("broken", [closes, is_huge, is_cut_off, is_no_http])
def test_an_answer_that_is_none_is_503(
    narthex: Origin, client: TestClient, broken: Callable[[Connection], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "LARGEST_ANSWER", 100_000)
    narthex.handler = broken
    answer = client.post("/auth/signin", json={"email": "ada@example.com", "password": "secret words"})
    assert (answer.status_code, answer.content, answer.headers["retry-after"]) == (503, AWAY, "1")
    narthex.handler = says(200, b"{}")
    assert client.get("/auth/me").status_code == 200


def test_a_server_that_is_away_is_503_and_nothing_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with TestClient(application(url)) as client, caplog.at_level(logging.DEBUG, "narthex"):
        for answer in [client.post("/auth/signin", json={"password": "secret words"}), client.get("/api/auth/ok")]:
            assert (answer.status_code, answer.content) == (503, AWAY)
            assert (answer.headers["retry-after"], answer.headers["content-type"]) == ("1", "application/json")
    assert "Narthex does not answer: ConnectError" in caplog.text
    assert "secret words" not in caplog.text


def test_a_server_that_does_not_answer_in_time_is_503(
    narthex: Origin, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "TIMEOUTS", {**forward.TIMEOUTS, "read": 0.01})
    done = threading.Event()

    def waits(_connection: Connection) -> None:
        done.wait(10)

    narthex.handler = waits
    assert client.get("/auth/me").status_code == 503
    done.set()


def test_connections_are_used_again_and_closed_at_the_end(narthex: Origin) -> None:
    with TestClient(application(narthex.url)) as client:
        for _ in range(5):
            assert client.post("/auth/signin", json={}).status_code == 200
        assert (narthex.connections, narthex.closed) == (1, 0)
    until(lambda: narthex.closed == 1)


def test_a_connection_that_narthex_has_closed_is_not_used_again(narthex: Origin, client: TestClient) -> None:
    for _ in range(3):
        narthex.handler = says(200, b"{}", ("Connection", "close"))
        assert client.post("/auth/signin", json={}).status_code == 200

        # Without having said so.
        def silently(connection: Connection) -> None:
            says(200, b"{}")(connection)
            connection.close_connection = True

        narthex.handler = silently
        assert client.post("/auth/signin", json={}).status_code == 200
        until(lambda: narthex.closed == narthex.connections)


def test_without_a_lifespan_each_request_has_a_connection_of_its_own(narthex: Origin) -> None:
    client = TestClient(application(narthex.url))
    assert [client.get("/auth/me").status_code for _ in range(3)] == [200, 200, 200]
    assert narthex.connections == 3


def test_requests_that_nobody_waits_for_any_more_cost_no_connection(
    narthex: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "CONNECTIONS", 2)
    app = application(narthex.url)
    go_on = threading.Event()

    def slow(connection: Connection) -> None:
        go_on.wait(10)
        says(200, b"{}")(connection)

    async def run() -> list[int]:
        async with app.router.lifespan_context(app):
            narthex.handler = slow
            for _ in range(5):
                asked = len(narthex.asked)
                task = asyncio.create_task(asgi(app, "GET", "/auth/me"))
                while len(narthex.asked) == asked:
                    await asyncio.sleep(0.001)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            go_on.set()
            narthex.handler = says(200, b"{}")
            return [status for status, _, _ in await asyncio.gather(*(asgi(app, "GET", "/auth/me") for _ in range(6)))]

    assert asyncio.run(run()) == [200] * 6


def test_beyond_the_connections_that_there_are_requests_wait_and_then_are_refused(
    narthex: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "CONNECTIONS", 1)
    monkeypatch.setattr(forward, "TIMEOUTS", {**forward.TIMEOUTS, "pool": 0.05})
    app = application(narthex.url)
    go_on = threading.Event()
    narthex.handler = lambda connection: (go_on.wait(10), says(200, b"{}")(connection))[1]

    async def run() -> tuple[int, int]:
        async with app.router.lifespan_context(app):
            first = asyncio.create_task(asgi(app, "GET", "/auth/me"))
            while not narthex.asked:
                await asyncio.sleep(0.001)
            second = await asgi(app, "GET", "/auth/me")
            go_on.set()
            return (await first)[0], second[0]

    assert asyncio.run(run()) == (200, 503)
    assert narthex.connections == 1


def test_narthex_may_be_behind_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "narthex.sock"
    with origin(path) as narthex, TestClient(application(narthex.url)) as client:
        narthex.handler = says(200, b'{"id":"1"}')
        assert client.get("/auth/me").json() == {"id": "1"}
        assert narthex.last.header("host") == ["testserver"]
        assert client.get("/api/auth/ok").json() == {"id": "1"}
        assert narthex.connections == 2


def running(path: Path | None, base_path: str = "/api/auth") -> Any:
    return SimpleNamespace(socket=path, base_path=base_path)


def test_the_server_of_the_lifespan_is_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    app = application(None)
    first, second = tmp_path / "1.sock", tmp_path / "2.sock"
    with TestClient(app) as client, origin(first) as one, origin(second) as two:
        app.state.narthex = running(first, "/a")
        assert client.get("/auth/me").status_code == 200
        assert one.last.target == "/a/token-api/me"
        # Another one, as after another start.
        app.state.narthex = running(second, "/b")
        assert client.get("/api/auth/ok").status_code == 200
        assert two.last.target == "/b/ok"
    assert caplog.text == ""


def test_the_server_of_the_process_is_found_from_an_application_inside_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outer = FastAPI()
    outer.mount("/v1", application(None))
    monkeypatch.setattr("narthex.server._running", [running(tmp_path / "1.sock")])
    with origin(tmp_path / "1.sock") as narthex, TestClient(outer) as client:
        assert client.get("/v1/auth/me").status_code == 200
        assert narthex.last.target == "/api/auth/token-api/me"


@pytest.mark.parametrize("server", [None, running(None)])
def test_without_a_server_the_answer_is_503_and_the_log_says_what_to_do(
    server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    app = application(None)
    app.state.narthex = server
    for answer in [TestClient(app).get("/auth/me"), TestClient(app).get("/api/auth/ok")]:
        assert (answer.status_code, answer.content, answer.headers["retry-after"]) == (503, AWAY, "1")
    assert "start it with FastAPI(lifespan=narthex.fastapi.lifespan()), or say url=" in caplog.text


def test_dependencies_of_the_application_come_first(narthex: Origin) -> None:
    def refuse() -> None:
        raise HTTPException(418)

    app = FastAPI()
    app.include_router(auth_router(url=narthex.url), prefix="/auth", dependencies=[Depends(refuse)])
    assert TestClient(app).post("/auth/signin", json={}).status_code == 418
    assert narthex.asked == []


@pytest.mark.parametrize(
    "url", ["127.0.0.1:3001", "ftp://x", "http://", "unix:narthex.sock", "http://127.0.0.1:3001/api/auth", "unix:"]
)
def test_a_url_that_leads_nowhere_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigurationError, match="url = "):
        better_auth_router(url=url)


def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it did not happen")


async def asgi(
    app: FastAPI,
    method: str,
    path: str,
    *,
    headers: list[tuple[bytes, bytes]] | None = None,
    client: tuple[str, int] | None = ("203.0.113.7", 1),
    receive: Callable[[], Awaitable[dict[str, Any]]] | None = None,
) -> tuple[int, dict[str, str], bytes]:
    """One request without what a client library would not send."""

    async def nothing() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers or [],
        "client": client,
        "server": ("app.test", 80),
    }
    await app(scope, receive or nothing, send)
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], found, b"".join(message.get("body", b"") for message in sent[1:])
