"""A backend as people write it: the secret in the environment, `get_current_user`, tokens made with python-jose."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from jose import jwt
from pydantic import BaseModel

from narthex import Auth
from support import SECRET

logger = logging.getLogger("auth")


class Query(BaseModel):
    query: str


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setenv("BETTER_AUTH_JWT_SECRET", SECRET)
    monkeypatch.setenv("AUTH_SERVICE_URL", "http://localhost:3001")
    get_current_user = Auth.from_env().get_current_user
    app = FastAPI()

    @app.post("/api/query")
    async def query_rag(request: Query, current_user: Any = Depends(get_current_user)) -> dict[str, Any]:
        extra = {"user_id": current_user["id"], "experience_level": current_user.get("experienceLevel")}
        logger.info("User %s queried", current_user["id"], extra=extra)
        return {"query": request.query, **extra}

    return TestClient(app)


def token(secret: str = SECRET, hours: int = 1, **claims: Any) -> str:
    payload = {"sub": "user123", "exp": datetime.now(UTC) + timedelta(hours=hours), **claims}
    return str(jwt.encode(payload, secret, algorithm="HS256"))


def post(client: TestClient, text: str | None) -> Any:
    headers = {} if text is None else {"Authorization": f"Bearer {text}"}
    return client.post("/api/query", headers=headers, json={"query": "test"})


def test_valid_jwt_token(client: TestClient) -> None:
    response = post(client, token(email="test@example.com", experienceLevel="advanced"))
    assert response.status_code == 200
    assert response.json() == {"query": "test", "user_id": "user123", "experience_level": "advanced"}


def test_a_token_without_further_claims_is_enough(client: TestClient) -> None:
    assert post(client, token()).json()["experience_level"] is None


def test_expired_jwt_token(client: TestClient) -> None:
    assert post(client, token(hours=-1)).status_code == 401


def test_a_token_of_another_secret_and_none_at_all_are_401(client: TestClient) -> None:
    assert post(client, token(secret="another secret of thirty-two characters")).status_code == 401
    assert post(client, None).status_code == 401


def test_the_body_is_not_looked_at_before_the_token(client: TestClient) -> None:
    assert client.post("/api/query", json={}).status_code == 401
