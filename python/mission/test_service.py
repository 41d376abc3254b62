"""What the auth service answers that a plan's `.env` has started."""

from __future__ import annotations

import httpx
import jwt
import pytest
from surroundings import HERE, MISSION, ORIGINS, SERVICE, Browser

ENDPOINTS = [line.split()[:2] for line in (MISSION / "endpoints").read_text().splitlines() if line.strip()]


def test_it_is_ready() -> None:
    answer = httpx.get(f"{HERE}/ready")
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("origin", ORIGINS)
def test_pages_of_each_origin_may_call_it_with_cookies(origin: str) -> None:
    asked = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type",
    }
    answer = httpx.options(f"{HERE}/api/auth/sign-in/email", headers=asked)
    assert answer.status_code in (200, 204), answer.text
    assert answer.headers["access-control-allow-origin"] == origin
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "content-type" in answer.headers["access-control-allow-headers"].lower()
    answer = httpx.get(f"{HERE}/api/auth/get-session", headers={"origin": origin})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, origin)


def test_pages_of_no_other_origin_may() -> None:
    answer = httpx.get(f"{HERE}/api/auth/get-session", headers={"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in answer.headers


def test_who_signs_up_has_the_plans_fields_and_a_session(browser: Browser) -> None:
    fields = {"experienceLevel": "beginner", "professionalRole": "student", "organization": "Example"}
    answer = browser.sign_up(email="ada@example.com", **fields)
    assert answer.status_code == 200, answer.text
    user = answer.json()["user"]
    assert {name: user[name] for name in fields} == fields
    assert user["roleOther"] is None
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    is_https = SERVICE["BETTER_AUTH_URL"].startswith("https:")
    assert ("Secure" in cookie) is cookie.startswith("__Secure-") is is_https, cookie


def test_who_lacks_a_required_field_is_refused(browser: Browser) -> None:
    answer = browser.sign_up(email="eve@example.com", experienceLevel="beginner")
    assert (answer.status_code, answer.json()["code"]) == (400, "MISSING_FIELD"), answer.text


def test_its_tokens_are_signed_with_the_secret_of_the_file(token: str) -> None:
    assert jwt.get_unverified_header(token)["alg"] == "HS256"
    claims = jwt.decode(token, SERVICE["JWT_SECRET"], algorithms=["HS256"], issuer=SERVICE["BETTER_AUTH_URL"])
    assert claims["experienceLevel"] == "advanced"
    assert claims["sub"] == claims["id"]
    assert 0 < claims["exp"] - claims["iat"] <= 3600


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_each_endpoint_of_the_plans_list_is_there(browser: Browser, method: str, path: str) -> None:
    answer = browser.ask(method, path, {} if method == "POST" else None)
    assert answer.status_code not in (404, 405), answer.text
    assert browser.ask(method, f"{path}/not-there").status_code == 404
