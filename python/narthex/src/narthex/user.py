"""Who is signed in: the claims of a token or the user of a session, as attributes and as a mapping."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from .errors import ConfigurationError, Forbidden

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    UserT = TypeVar("UserT", bound="User", default="User")
else:
    UserT = typing.TypeVar("UserT", bound="User")


def camel(name: str) -> str:
    """`experience_level` as it stands on the wire: `experienceLevel`."""
    head, *tail = name.split("_")
    return head + "".join(word.capitalize() for word in tail)


class User(Mapping[str, Any]):
    """A signed-in user.

    What the server sent is there by its own name (`user["experienceLevel"]`, `user.get("experienceLevel")`) and as
    an attribute (`user.experienceLevel`, `user.experience_level`). Subclasses declare further fields with types;
    these are checked when a request arrives.
    """

    id: str
    email: str | None = None
    email_verified: bool | None = None
    name: str | None = None
    image: str | None = None
    role: str | None = None

    if TYPE_CHECKING:
        # Not annotations at run time: these are set by `__init__` and never read from the claims by that name.
        session_id: str | None
        via: Literal["token", "cookie", "session"]
        # What the server said of the session, without its token; empty with a token.
        session_fields: Mapping[str, Any]

    def __init__(
        self,
        claims: Mapping[str, Any],
        *,
        session_id: str | None = None,
        via: str = "token",
        session_fields: Mapping[str, Any] | None = None,
    ):
        values = self.__dict__
        values["_claims"] = claims
        values["session_id"] = session_id
        values["via"] = via
        values["session_fields"] = dict(session_fields or {})
        for name, (wire, check, required) in _fields(type(self)).items():
            value = claims.get(name, claims.get(wire))
            if value is None and not required:
                continue
            if not check(value):
                raise Forbidden(f"The account has no valid {wire}", reason="field")
            values[name] = value

    @property
    def roles(self) -> frozenset[str]:
        """The roles; the server writes several as one text with commas."""
        return frozenset(part.strip() for part in (self.role or "").split(",") if part.strip())

    @property
    def scopes(self) -> frozenset[str]:
        """The scopes of the token."""
        scope = self._claims.get("scope")
        return frozenset(scope.split()) if isinstance(scope, str) else frozenset()

    def __getitem__(self, name: str) -> Any:
        return self._claims[name]

    def get(self, key: str, default: Any = None, /) -> Any:
        """A claim, or the default; `Mapping` would raise and catch an error for each that is missing."""
        return self._claims.get(key, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._claims)

    def __len__(self) -> int:
        return len(self._claims)

    def __getattr__(self, name: str) -> Any:
        # Only for what is no declared field.
        if not name.startswith("_"):
            claims = self.__dict__.get("_claims", {})
            for wire in (name, camel(name)):
                if wire in claims:
                    return claims[wire]
        raise AttributeError(f"the user has no {name}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a user cannot be changed here")

    def __repr__(self) -> str:
        # No more than the id: users end up in logs.
        return f"{type(self).__name__}(id={self._claims.get('id')!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> Any:
        from pydantic_core import core_schema

        anything = core_schema.dict_schema(core_schema.str_schema(), core_schema.any_schema())
        return core_schema.json_or_python_schema(
            json_schema=anything,
            python_schema=core_schema.is_instance_schema(cls),
            serialization=core_schema.plain_serializer_function_ser_schema(dict, return_schema=anything),
        )


_Check = typing.Callable[[object], bool]
_PLAIN = frozenset({str, int, bool, list, dict, type(None)})
_known: dict[type[User], dict[str, tuple[str, _Check, bool]]] = {}


def _fields(cls: type[User]) -> dict[str, tuple[str, _Check, bool]]:
    fields = _known.get(cls)
    if fields is None:
        hints = typing.get_type_hints(cls)
        fields = {
            name: (camel(name), _check(name, hint), not hasattr(cls, name))
            for name, hint in hints.items()
            if get_origin(hint) is not typing.ClassVar
        }
        _known[cls] = fields
    return fields


def check_user_type(cls: type[User]) -> None:
    """Refuses a user type whose fields could not be checked."""
    if not (isinstance(cls, type) and issubclass(cls, User)):
        raise ConfigurationError("user_type: must be a subclass of narthex.User")
    _fields(cls)


def _check(name: str, hint: Any) -> _Check:
    """How a value is compared with a declared type; without coercion, so that what is declared is what is there."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return lambda _value: True
    if hint is None or hint is type(None):
        return lambda value: value is None
    if origin in (Union, types.UnionType):
        if _PLAIN.issuperset(arguments):
            # `str | None`, as nearly all are, at once.
            return lambda value: type(value) in arguments
        checks = [_check(name, argument) for argument in arguments]
        return lambda value: any(check(value) for check in checks)
    if origin is Literal:
        return lambda value: any(value == one and type(value) is type(one) for one in arguments)
    if origin is list:
        inner = _check(name, arguments[0])
        return lambda value: isinstance(value, list) and all(inner(item) for item in value)
    if hint is float:
        return lambda value: type(value) in (int, float)
    if hint in (str, int, bool, list, dict) or origin is dict:
        plain = origin or hint
        return lambda value: type(value) is plain
    raise ConfigurationError(
        f"{name}: {hint!r} cannot be checked; use str, int, float, bool, list, dict, Literal, None and unions of them"
    )
