"""What Narthex says its token API takes and answers, as Pydantic models and for FastAPI's documentation.

It is read from the server's own description, so that the operator's fields are in it. The models are for people who
read and for programs that want types: what is sent is judged by Narthex, and by nobody else.
"""

from __future__ import annotations

import copy
import json
import keyword
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Optional, Union, cast

try:
    from pydantic import BaseModel, ConfigDict, Field, create_model
except ImportError as error:
    raise ImportError("this needs FastAPI: pip install 'narthex[server]'") from error

from .errors import ConfigurationError

PREFIX = "/token-api/"
_REFERENCE = "#/components/schemas/"
# Names that applications have for things of their own.
_NAMES = {"User": "AuthUser", "Error": "AuthError"}
_TYPES: dict[str, Any] = {"string": str, "number": float, "integer": int, "boolean": bool, "object": dict, "null": None}
# What documentation fills in for people who try.
_EXAMPLES = {
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "username": "ada@example.com",
    "password": "correct horse battery",
    "grant_type": "password",
    "image": "https://example.com/ada.png",
    "refresh_token": "the refresh_token of the last answer",
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint of the token API, in FastAPI's words."""

    method: str
    name: str
    summary: str
    description: str
    reply: type[BaseModel]
    responses: dict[int | str, dict[str, Any]] = field(repr=False)
    # Where there is a body.
    extra: dict[str, Any] = field(repr=False)
    # Whether it answers 401 to those without a token.
    is_guarded: bool = False


class TokenApi:
    """The endpoints and models of an OpenAPI document of Narthex."""

    def __init__(self, document: Mapping[str, Any]):
        self._schemas: Mapping[str, Any] = document.get("components", {}).get("schemas", {})
        self._models: dict[str, type[BaseModel]] = {}
        paths = {path: ways for path, ways in document.get("paths", {}).items() if path.startswith(PREFIX)}
        if not paths:
            raise ConfigurationError(
                "the token API is off: add [plugins.jwt] and [plugins.token-api] to narthex.toml "
                "(it is looked for where the application is started; elsewhere, say config=)"
            )
        self.endpoints = [
            self._endpoint(path.removeprefix(PREFIX), method, operation)
            for path, ways in paths.items()
            for method, operation in ways.items()
        ]

    @property
    def models(self) -> Mapping[str, type[BaseModel]]:
        """By name: `SignUp`, `SignIn`, `Tokens`, `AuthUser`, …"""
        return MappingProxyType(self._models)

    def _endpoint(self, name: str, method: str, operation: Mapping[str, Any]) -> Endpoint:
        responses = {int(status): self._response(response) for status, response in operation["responses"].items()}
        done = responses.pop(200)
        extra: dict[str, Any] = {}
        if "requestBody" in operation:
            extra["requestBody"] = self._body(operation["requestBody"])
        return Endpoint(
            method=method.upper(),
            name=name,
            summary=operation.get("summary", name),
            description=done["description"],
            reply=done["model"],
            responses=cast("dict[int | str, dict[str, Any]]", responses),
            extra=extra,
            is_guarded="INVALID_TOKEN" in _examples(operation["responses"].get("401", {})),
        )

    def _response(self, response: Mapping[str, Any]) -> dict[str, Any]:
        found = {key: value for key, value in response.items() if key in ("description", "headers")}
        content = response["content"]["application/json"]
        found["model"] = self._type(content["schema"])
        if examples := _examples(response):
            found["content"] = {"application/json": {"examples": examples}}
        return found

    def _body(self, body: Mapping[str, Any]) -> dict[str, Any]:
        content = {}
        for media_type, described in body["content"].items():
            choices = described["schema"].get("anyOf", [described["schema"]])
            # A form is OAuth's where that is taken too, and JSON is not.
            wants_form = media_type == "application/x-www-form-urlencoded"
            models = [self._type(choice) for choice in choices]
            fitting = [model for model in models if (model.__name__ == "PasswordForm") == wants_form] or models
            schemas = [model.model_json_schema() for model in fitting]
            content[media_type] = {
                "schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas},
                "example": {
                    name: _example(name, schema)
                    for name, schema in schemas[0].get("properties", {}).items()
                    if name in schemas[0].get("required", ()) or name not in _EXAMPLES
                },
            }
        return {"required": body.get("required", False), "content": content}

    def _type(self, schema: Mapping[str, Any]) -> Any:
        """The Python type of a value."""
        if "$ref" in schema:
            return self._model(schema["$ref"].removeprefix(_REFERENCE))
        if "enum" in schema:
            return Literal[tuple(schema["enum"])]
        if "anyOf" in schema:
            return Union[tuple(self._type(choice) for choice in schema["anyOf"])]  # noqa: UP007 - made of values
        kind = schema.get("type")
        if isinstance(kind, list):
            return Union[tuple(self._type({**schema, "type": one}) for one in kind)]  # noqa: UP007 - made of values
        if kind == "string" and schema.get("format") == "date-time":
            return datetime
        if kind == "array":
            return list[self._type(schema.get("items", {}))]  # type: ignore[misc]
        return _TYPES.get(kind, Any) if isinstance(kind, str) else Any

    def _model(self, name: str) -> type[BaseModel]:
        short = name.removeprefix("TokenApi").removesuffix("Body")
        short = _NAMES.get(short, short)
        if short not in self._models:
            self._models[short] = self._make(short, self._schemas[name])
        return self._models[short]

    def _make(self, name: str, schema: Mapping[str, Any]) -> type[BaseModel]:
        required = schema.get("required", [])
        fields: dict[str, Any] = {}
        for wire_name, described in schema.get("properties", {}).items():
            is_required = wire_name in required
            kind = self._type(described)
            fields[_attribute(wire_name, fields)] = (
                kind if is_required else Optional[kind],  # noqa: UP045 - made of values
                Field(
                    default=... if is_required else described.get("default"),
                    alias=wire_name,
                    description=described.get("description"),
                    json_schema_extra=_as_described(described),
                ),
            )
        config = ConfigDict(extra="allow", populate_by_name=True, protected_namespaces=(), json_schema_extra=_plainly)
        description = schema.get("description")
        return create_model(name, __config__=config, __doc__=description, __module__=__name__, **fields)


def _attribute(wire_name: str, taken: Mapping[str, Any]) -> str:
    """What the field is called in Python: its own name, where it can be one."""
    name = "".join(letter if letter.isalnum() or letter == "_" else "_" for letter in wire_name).lstrip("_")
    name = name if name.isidentifier() else f"field_{name}"
    while keyword.iskeyword(name) or hasattr(BaseModel, name) or name in taken:
        name += "_"
    return name


def _as_described(schema: Mapping[str, Any]) -> Callable[[dict[str, Any]], None] | None:
    """Writes a field as Narthex does. What refers to another model is left to Pydantic, which knows where that is."""
    if "$ref" in json.dumps(schema):
        return None

    def write(written: dict[str, Any]) -> None:
        written.clear()
        written.update(copy.deepcopy(dict(schema)))

    return write


def _plainly(written: dict[str, Any]) -> None:
    # That more is let through is for plugins; it says nothing.
    written.pop("additionalProperties", None)


def _examples(response: Mapping[str, Any]) -> dict[str, Any]:
    return dict(response.get("content", {}).get("application/json", {}).get("examples", {}))


def _example(name: str, schema: Mapping[str, Any]) -> Any:
    if name in _EXAMPLES:
        return _EXAMPLES[name]
    if schema.get("default") is not None:
        return schema["default"]
    if "enum" in schema:
        return schema["enum"][0]
    kinds = schema.get("type")
    kind = kinds[0] if isinstance(kinds, list) else kinds
    if kind == "array":
        return [_example("", schema.get("items", {}))]
    if schema.get("format") == "date-time":
        return "2026-01-31T12:00:00.000Z"
    return {"string": "text", "number": 1, "integer": 1, "boolean": True}.get(kind or "", {})


def described_by_binary(
    binary: str | os.PathLike[str], config: str | os.PathLike[str] | None, environment: Mapping[str, str] | None
) -> dict[str, Any]:
    """What `narthex routes --openapi` says with this configuration."""
    command = [os.fspath(binary), "routes", "--openapi"]
    if config is not None:
        command += ["--config", os.fspath(config)]
    try:
        done = subprocess.run(  # noqa: S603 - the binary that the lifespan starts too
            command,
            capture_output=True,
            check=False,
            env=None if environment is None else {**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(f"{' '.join(command)}: {error}") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise ConfigurationError(f"{' '.join(command)} failed: {said}")
    return cast("dict[str, Any]", json.loads(done.stdout))


def described_without_fields() -> dict[str, Any]:
    """The token API as it is without fields of the operator's."""
    text = resources.files(__package__).joinpath("token_api.json").read_text("utf-8")
    return cast("dict[str, Any]", json.loads(text))


def described_in(openapi: Mapping[str, Any] | str | os.PathLike[str]) -> Mapping[str, Any]:
    """A document that somebody has, or the file that it is in."""
    if isinstance(openapi, Mapping):
        return openapi
    try:
        return cast("dict[str, Any]", json.loads(Path(openapi).read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"openapi = {os.fspath(openapi)!r}: {error}") from error
