"""What FastAPI's documentation says about the token API, and the models for programs."""

from __future__ import annotations

import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import ValidationError

from narthex import ConfigurationError
from narthex.fastapi import auth_router
from narthex.token_api import TokenApi, described_without_fields

# As `narthex routes --openapi` writes them.
FIELDS: dict[str, Any] = {
    "software_background": {"type": ["string", "null"]},
    "hardware_background": {"type": ["string", "null"], "enum": ["none", "hobby", None], "default": "none"},
    "born": {"type": "string", "format": "date-time"},
    "score": {"type": "number"},
    "tags": {"type": "array", "items": {"type": "string"}},
    "settings": {},
    "newsletter": {"type": ["boolean", "null"]},
}
GIVEN = {
    "name": "Ada",
    "email": "ada@example.com",
    "password": "secret words",
    "born": "1815-12-10T00:00:00Z",
    "score": 1.5,
    "tags": [],
}


def document(fields: dict[str, Any] = FIELDS, required: tuple[str, ...] = ("born", "score", "tags")) -> dict[str, Any]:
    """The packaged description, with fields of an operator."""
    described = json.loads(json.dumps(described_without_fields()))
    schemas = described["components"]["schemas"]
    schemas["TokenApiSignUpBody"]["properties"] |= fields
    schemas["TokenApiSignUpBody"]["required"] += required
    schemas["User"]["properties"] |= fields
    schemas["User"]["required"] += fields
    return dict(described)


def documentation(openapi: dict[str, Any]) -> dict[str, Any]:
    app = FastAPI()
    app.include_router(auth_router(openapi=openapi), prefix="/auth", tags=["auth"])
    return dict(app.openapi())


def without_titles(schema: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {key: value for key, value in field.items() if key != "title"}
        for name, field in schema["properties"].items()
    }


def test_every_field_is_documented_as_narthex_describes_it() -> None:
    described = document()
    shown = documentation(described)
    body = shown["paths"]["/auth/signup"]["post"]["requestBody"]
    wanted = described["components"]["schemas"]["TokenApiSignUpBody"]
    schema = body["content"]["application/json"]["schema"]
    assert without_titles(schema) == wanted["properties"]
    assert schema["required"] == wanted["required"]
    assert (body["required"], schema["title"], schema["description"]) == (True, "SignUp", "Who wants an account.")
    user = shown["components"]["schemas"]["AuthUser"]
    assert without_titles(user) == described["components"]["schemas"]["User"]["properties"]


def test_what_is_tried_out_has_values_that_fit() -> None:
    content = documentation(document())["paths"]["/auth/signup"]["post"]["requestBody"]["content"]
    assert content["application/json"]["example"] == {
        "name": "Ada Lovelace",
        "email": "ada@example.com",
        "password": "correct horse battery",
        "software_background": "text",
        "hardware_background": "none",
        "born": "2026-01-31T12:00:00.000Z",
        "score": 1,
        "tags": ["text"],
        "settings": {},
        "newsletter": True,
    }


def test_each_endpoint_has_its_answers_and_none_of_fastapis_own() -> None:
    shown = documentation(document())
    paths = {(path, method) for path, ways in shown["paths"].items() for method in ways}
    assert paths == {
        ("/auth/signup", "post"),
        ("/auth/signin", "post"),
        ("/auth/refresh", "post"),
        ("/auth/signout", "post"),
        ("/auth/me", "get"),
    }
    assert "HTTPValidationError" not in json.dumps(shown)
    assert "additionalProperties" not in json.dumps(shown)
    signin = shown["paths"]["/auth/signin"]["post"]
    assert (signin["tags"], signin["operationId"]) == (["auth"], "signin_auth_signin_post")
    assert signin["summary"] == "Answers tokens for an email address and a password."
    assert signin["responses"]["200"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/Tokens"
    }
    unauthorized = signin["responses"]["401"]["content"]["application/json"]
    assert unauthorized["schema"] == {"$ref": "#/components/schemas/AuthError"}
    assert unauthorized["examples"]["INVALID_EMAIL_OR_PASSWORD"]["value"]["message"] == "Invalid email or password"
    assert "Retry-After" in signin["responses"]["503"]["headers"]
    guarded = {path for path, ways in shown["paths"].items() for way in ways.values() if way.get("security")}
    assert guarded == {"/auth/signout", "/auth/me"}
    assert shown["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


def test_the_password_form_is_documented_where_it_is_taken() -> None:
    described = document()
    both = {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("TokenApiSignInBody", "PasswordForm")]}
    described["components"]["schemas"]["PasswordForm"] = {
        "type": "object",
        "properties": {name: {"type": "string"} for name in ("grant_type", "username", "password")},
        "required": ["username", "password"],
    }
    media_types = ("application/json", "application/x-www-form-urlencoded")
    body: dict[str, Any] = {"required": True, "content": {media_type: {"schema": both} for media_type in media_types}}
    described["paths"]["/token-api/signin"]["post"]["requestBody"] = body
    content = documentation(described)["paths"]["/auth/signin"]["post"]["requestBody"]["content"]
    assert {media_type: said["schema"]["title"] for media_type, said in content.items()} == {
        "application/json": "SignIn",
        "application/x-www-form-urlencoded": "PasswordForm",
    }
    # Where there is one shape only, it is that.
    body["content"] = {media_types[1]: {"schema": both["anyOf"][0]}}
    alone = documentation(described)["paths"]["/auth/signin"]["post"]["requestBody"]["content"]
    assert alone[media_types[1]]["schema"]["title"] == "SignIn"
    form = content["application/x-www-form-urlencoded"]["example"]
    assert form == {"username": "ada@example.com", "password": "correct horse battery"}


def test_models_have_the_types_of_the_fields() -> None:
    models = TokenApi(document()).models
    assert set(models) == {"SignUp", "SignIn", "Refresh", "SignOut", "SignedOut", "Tokens", "AuthUser", "AuthError"}
    made: Any = models["SignUp"].model_validate(GIVEN)
    assert (made.born, made.score, made.tags) == (datetime(1815, 12, 10, tzinfo=UTC), 1.5, [])
    assert (made.software_background, made.hardware_background, made.newsletter) == (None, "none", None)
    # What was not said is not sent.
    assert set(made.model_dump(exclude_unset=True)) == GIVEN.keys()
    wrongs: list[dict[str, Any]] = [
        {"hardware_background": "some"},
        {"score": "many"},
        {"born": None},
        {"tags": [1]},
        {"newsletter": "maybe"},
    ]
    for wrong in wrongs:
        with pytest.raises(ValidationError):
            models["SignUp"].model_validate({**GIVEN, **wrong})
    with pytest.raises(ValidationError):
        models["SignUp"].model_validate({name: value for name, value in GIVEN.items() if name != "born"})


def test_tokens_have_the_user_in_them_with_whatever_a_plugin_adds() -> None:
    tokens: Any = (
        TokenApi(described_without_fields())
        .models["Tokens"]
        .model_validate(
            {
                "access_token": None,
                "token_type": "bearer",
                "expires_in": 900,
                "refresh_token": None,
                "user": {
                    "id": "1",
                    "name": "Ada",
                    "email": "ada@example.com",
                    "emailVerified": True,
                    "image": None,
                    "createdAt": "2026-01-31T12:00:00.000Z",
                    "updatedAt": "2026-01-31T12:00:00.000Z",
                    "role": "admin",
                },
            }
        )
    )
    assert (tokens.access_token, tokens.expires_in, tokens.user.emailVerified, tokens.user.role) == (
        None,
        900,
        True,
        "admin",
    )


def test_fields_may_have_any_name() -> None:
    names = ["class", "model_config", "copy", "schema", "_hidden", "hidden", "2fa", "größe", "a-b", "a_b", "model_dump"]
    fields = {name: {"type": "string"} for name in names}
    described = document(fields, required=tuple(names))
    model = TokenApi(described).models["SignUp"]
    given = {**GIVEN, **{name: f"of {name}" for name in names}}
    made = model.model_validate(given)
    assert {name: made.model_dump(by_alias=True)[name] for name in names} == {name: f"of {name}" for name in names}
    assert set(documentation(described)["components"]["schemas"]["AuthUser"]["properties"]) >= set(names)


def test_a_configuration_without_the_token_api_says_what_is_missing() -> None:
    with pytest.raises(ConfigurationError, match=r"add \[plugins.jwt\] and \[plugins.token-api\] to narthex.toml"):
        auth_router(openapi={"paths": {"/ok": {}}, "components": {}})


def test_a_description_may_be_a_file(tmp_path: Path) -> None:
    path = tmp_path / "openapi.json"
    path.write_text(json.dumps(document()))
    assert "score" in auth_router(openapi=path).models["SignUp"].model_fields
    with pytest.raises(ConfigurationError, match="openapi = '/nowhere/openapi.json'"):
        auth_router(openapi="/nowhere/openapi.json")
    path.write_text("{")
    with pytest.raises(ConfigurationError, match=r"openapi\.json"):
        auth_router(openapi=str(path))


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    """Says what it was asked, in a file, and what a binary says."""
    (tmp_path / "described.json").write_text(json.dumps(document()))
    return program(
        tmp_path / "bin" / "narthex", f'echo "$@" "$FLAVOUR" > {tmp_path}/asked; cat {tmp_path}/described.json'
    )


def test_the_binary_is_asked_with_the_same_configuration(tmp_path: Path, binary: Path) -> None:
    router = auth_router(binary=binary, config=tmp_path / "my.toml", environment={"FLAVOUR": "vanilla"})
    assert (tmp_path / "asked").read_text() == f"routes --openapi --config {tmp_path}/my.toml vanilla\n"
    assert "score" in router.models["SignUp"].model_fields


def test_the_binary_is_found_where_it_is(tmp_path: Path, binary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = tmp_path / "asked"
    monkeypatch.setattr("sysconfig.get_path", lambda _name: "/nowhere")
    monkeypatch.delenv("NARTHEX_BIN", raising=False)
    monkeypatch.setenv("PATH", f"{binary.parent}:{os.environ['PATH']}")
    auth_router()
    assert asked.read_text() == "routes --openapi \n"
    asked.unlink()
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr("sysconfig.get_path", lambda _name: str(binary.parent))
    auth_router()
    asked.unlink()
    monkeypatch.setattr("sysconfig.get_path", lambda _name: "/nowhere")
    with pytest.raises(ConfigurationError, match=r"pip install 'narthex\[server\]', or name it in NARTHEX_BIN"):
        auth_router()
    monkeypatch.setenv("NARTHEX_BIN", str(binary))
    auth_router()
    assert asked.exists()


def test_what_the_binary_refuses_is_told(tmp_path: Path) -> None:
    refusing = program(tmp_path / "narthex", "echo 'narthex: session.expires-in = 0: must be positive' >&2; exit 2")
    with pytest.raises(ConfigurationError, match="routes --openapi failed: narthex: session.expires-in = 0"):
        auth_router(binary=refusing)
    with pytest.raises(ConfigurationError, match="/nowhere/narthex"):
        auth_router(binary="/nowhere/narthex")


def test_of_a_server_elsewhere_the_fields_that_every_one_has_are_known() -> None:
    assert set(auth_router(url="http://127.0.0.1:1").models["SignUp"].model_fields) == {
        "name",
        "email",
        "password",
        "image",
    }
