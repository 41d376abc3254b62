"""Users as attributes and as mappings."""

from __future__ import annotations

import json
import pickle
from typing import Any, ClassVar, Literal

import pytest

from narthex import Authenticator, ConfigurationError, Forbidden, User

CLAIMS = {"id": "user-1", "email": "a@example.com", "emailVerified": True, "experienceLevel": "advanced", "role": None}


def test_what_the_server_sent_is_there_by_either_name() -> None:
    user = User(CLAIMS, session_id="s1", via="cookie")
    assert (user.id, user["id"], user.get("id")) == ("user-1", "user-1", "user-1")
    assert (user.email_verified, user["emailVerified"]) == (True, True)
    assert (user.experience_level, user.experienceLevel, user["experienceLevel"]) == ("advanced",) * 3
    assert (user.role, user.name, user.roles, user.scopes) == (None, None, frozenset(), frozenset())
    assert (user.session_id, user.via) == ("s1", "cookie")
    assert {**user} == CLAIMS
    assert len(user) == 5
    assert "experienceLevel" in user
    assert json.loads(json.dumps(dict(user))) == CLAIMS


def test_what_the_server_did_not_send_is_missing() -> None:
    user = User({"id": "user-1"})
    assert user.get("experienceLevel") is None
    with pytest.raises(AttributeError, match="no experience_level"):
        _ = user.experience_level
    with pytest.raises(KeyError):
        _ = user["experienceLevel"]
    assert not hasattr(user, "__wrapped__")


def test_a_user_cannot_be_changed() -> None:
    user = User({"id": "user-1"})
    with pytest.raises(AttributeError, match="cannot be changed"):
        user.role = "admin"
    with pytest.raises(TypeError):
        user["role"] = "admin"


def test_claims_never_stand_for_what_the_verifier_found_out() -> None:
    user = User({"id": "user-1", "session_id": "forged", "sessionId": "forged", "via": "cookie"}, via="token")
    assert (user.session_id, user.via) == (None, "token")


def test_repr_shows_the_id_only() -> None:
    assert repr(User(CLAIMS)) == "User(id='user-1')"


def test_users_survive_pickling() -> None:
    user = pickle.loads(pickle.dumps(User(CLAIMS, session_id="s1")))  # noqa: S301 - our own bytes
    assert (user, user.session_id, user.experience_level) == (User(CLAIMS), "s1", "advanced")


class Everything(User):
    kinds: ClassVar[int] = 8
    level: Literal["a", 1]
    count: int
    ratio: float
    active: bool
    tags: list[str]
    settings: dict[str, Any]
    anything: Any = None
    maybe: str | None


GOOD: dict[str, Any] = {
    "id": "x",
    "level": "a",
    "count": 1,
    "ratio": 1,
    "active": False,
    "tags": ["a"],
    "settings": {},
    "maybe": None,
}


def test_declared_fields_are_checked_without_conversion() -> None:
    user = Everything(GOOD)
    assert (user.level, user.count, user.ratio, user.active, user.tags, user.maybe) == ("a", 1, 1, False, ["a"], None)
    assert Everything({**GOOD, "ratio": 1.5, "level": 1, "maybe": "x", "anything": 5}).anything == 5
    wrong: list[tuple[str, list[Any]]] = [
        ("level", ["b", True, 1.0, None]),
        ("count", ["1", True, 1.5, None]),
        ("ratio", ["1", False]),
        ("active", [0, 1, "true", None]),
        ("tags", ["a", [1], None, {"a": 1}]),
        ("settings", [[], "x"]),
        ("maybe", [1, []]),
        ("email", [1]),
    ]
    for name, values in wrong:
        for value in values:
            with pytest.raises(Forbidden) as caught:
                Everything({**GOOD, name: value})
            assert caught.value.detail == f"The account has no valid {name}"


def test_types_that_cannot_be_checked_are_refused_where_the_verifier_is_made() -> None:
    class Odd(User):
        moment: complex

    for user_type in (Odd, dict):
        with pytest.raises(ConfigurationError):
            Authenticator(secret="x" * 32, user_type=user_type)  # type: ignore[type-var]
