"""Who may do what: by the roles that the wire names, or by what the server says of the user."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

from narthex import Auth, ConfigurationError, Forbidden, Requirement, User
from narthex.permissions import permissions_of_roles
from narthex.testing import Issuer
from support import ISSUER

ROLES = permissions_of_roles(
    {
        "editor": {"article": ["write", "publish"], "comment": "delete"},
        "author": ["article:write"],
        "moderator": "comment:delete",
    }
)


def may(permission: Any, **user: Any) -> bool:
    try:
        Requirement.of(permission=permission).check(User({"id": "x", **user}), ROLES)
    except Forbidden as refused:
        assert refused.status == 403
        assert refused.reason == "permission"
        return False
    return True


def test_a_role_allows_what_is_said_of_it() -> None:
    assert may("article:publish", role="editor")
    assert may({"article": ["write", "publish"]}, role="editor")
    assert may({"article": "write", "comment": ["delete"]}, role="editor")
    assert may("article:write", role="nobody, author")
    for permission in ("article:publish", "article:delete", "article", "article:", ":write", "*", "article:*"):
        assert not may(permission, role="author"), permission
    for role in (None, "", "EDITOR", "stranger", "editors"):
        assert not may("article:publish", role=role), role


def test_one_role_must_allow_all_of_it_as_upstream_decides() -> None:
    both = ["article:write", "comment:delete"]
    assert may(both, role="editor")
    assert not may(both, role="author,moderator")


def test_what_the_server_says_of_the_user_allows_it_as_well() -> None:
    assert may("article:publish", permissions=["article:write", "article:publish"])
    assert may({"article": ["publish"]}, permissions={"article": ["write", "publish"]})
    assert may("read:reports", permissions=["read:reports"])
    assert not may(["article:publish", "article:delete"], permissions=["article:publish"])
    # Neither half is enough.
    assert not may(["article:publish", "comment:delete"], permissions=["article:publish"], role="moderator")


@pytest.mark.parametrize(
    "claim",
    [
        "article:publish",
        "article:publish article:write",
        {"article": "publish"},
        {"article": {"publish": True}},
        {"article": True},
        {"article:publish": ["x"]},
        {"article": [["publish"]]},
        [["article", "publish"]],
        [{"article": "publish"}],
        {"article": []},
        True,
        None,
        1,
        [],
    ],
)
def test_a_claim_that_is_written_otherwise_allows_nothing(claim: Any) -> None:
    assert not may("article:publish", permissions=claim)


def test_colons_do_not_make_one_permission_of_another() -> None:
    assert not may("a:b:c", permissions={"a:b": ["c"]})
    assert may("a:b:c", permissions={"a": ["b:c"]})


@pytest.mark.parametrize(
    "permission", ["", [], {}, {"article": []}, {"article": ""}, {"": ["write"]}, {"a:b": ["c"]}, [""], [1], [None]]
)
def test_what_requires_or_grants_nothing_is_refused_at_once(permission: Any) -> None:
    with pytest.raises(ConfigurationError, match="permission: "):
        Requirement.of(permission=permission)
    with pytest.raises(ConfigurationError, match="role_permissions: editor"):
        Auth(issuer=ISSUER, role_permissions={"editor": permission})


def test_fastapi_answers_403_that_names_the_permission() -> None:
    auth = Auth(issuer=ISSUER, role_permissions={"editor": {"article": ["publish"]}})
    app = FastAPI()

    @app.post("/publish")
    async def publish(user: User = Depends(auth.require(permission={"article": ["publish"]}))) -> str:
        return user.id

    issuer = Issuer(ISSUER)
    with issuer.serving(auth), TestClient(app) as client:
        assert client.post("/publish").status_code == 401
        answer = client.post("/publish", headers=issuer.bearer(role="user"))
        assert (answer.status_code, answer.json()) == (403, {"detail": "Requires the permission article:publish"})
        assert client.post("/publish", headers=issuer.bearer(role="user,editor")).json() == "user-1"
        assert client.post("/publish", headers=issuer.bearer(permissions=["article:publish"])).json() == "user-1"
