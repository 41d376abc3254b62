"""What a user must have, and the sentence that says what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .errors import ConfigurationError, Forbidden
from .permissions import Permissions, RolePermissions, may, names
from .user import User, camel


@dataclass(frozen=True, slots=True)
class Requirement:
    """All of this must hold; of several values one is enough, but every scope and every permission is needed."""

    roles: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()
    email_verified: bool = False
    fields: Mapping[str, tuple[object, ...]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        role: str | Iterable[str] | None = None,
        scope: str | Iterable[str] | None = None,
        email_verified: bool = False,
        permission: Permissions | None = None,
        **fields: object,
    ) -> Requirement:
        """From the arguments of `require`."""
        values = {name: tuple(_several(value)) for name, value in fields.items()}
        permissions = () if permission is None else names("permission", permission)
        made = cls(_names("role", role), _names("scope", scope), permissions, email_verified, values)
        if made == cls():
            raise ConfigurationError("require: nothing is required; use user() for who is signed in")
        for name, allowed in values.items():
            if not allowed or None in allowed:
                raise ConfigurationError(f"{name}: must be a value or several, none of them None")
        return made

    def check(self, user: User, role_permissions: RolePermissions | None = None) -> None:
        """Refuses with the first that is missing."""
        if self.roles and user.roles.isdisjoint(self.roles):
            raise Forbidden(f"Requires the role {_either(self.roles)}", reason="role")
        if not user.scopes.issuperset(self.scopes):
            missing = " ".join(scope for scope in self.scopes if scope not in user.scopes)
            raise Forbidden(f"Requires the scope {missing}", reason="scope", scope=" ".join(self.scopes))
        if self.permissions and not may(user, self.permissions, role_permissions or {}):
            raise Forbidden(f"Requires the permission {' and '.join(self.permissions)}", reason="permission")
        if self.email_verified and user.email_verified is not True:
            raise Forbidden("Requires a verified email address", reason="email")
        for name, allowed in self.fields.items():
            value = user.get(name, user.get(camel(name)))
            # True is no 1.
            if not any(value == one and type(value) is type(one) for one in allowed):
                raise Forbidden(f"Requires {name} to be {_either(allowed)}", reason="field")


def _several(value: object) -> list[object]:
    return list(value) if isinstance(value, (list, tuple, set, frozenset)) else [value]


def _names(what: str, value: str | Iterable[str] | None) -> tuple[str, ...]:
    if value is None:
        return ()
    names = tuple([value] if isinstance(value, str) else value)
    if not names or not all(names):
        # An empty list would protect nothing.
        raise ConfigurationError(f"{what}: must not be empty")
    return names


def _either(values: Iterable[object]) -> str:
    return " or ".join(sorted(str(value) for value in values))
