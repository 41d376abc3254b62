"""What somebody may do: `resource:action`, or as upstream's access control writes it, `{"resource": ["action"]}`.

Tokens and sessions of Narthex and Better Auth name roles; what a role may do is said in code, on the server and again
here. A server that puts `permissions` into tokens or users is believed as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .errors import ConfigurationError
from .user import User

CLAIM = "permissions"

Permissions = str | Iterable[str] | Mapping[str, str | Iterable[str]]
RolePermissions = Mapping[str, frozenset[str]]


def permissions_of_roles(option: Mapping[str, Permissions] | None) -> RolePermissions:
    """From the option `role_permissions`."""
    return {role: frozenset(names(f"role_permissions: {role}", granted)) for role, granted in (option or {}).items()}


def names(what: str, permissions: Permissions) -> tuple[str, ...]:
    """Each permission as `resource:action`."""
    if isinstance(permissions, str):
        found = [permissions]
    elif isinstance(permissions, Mapping):
        found = []
        for resource, actions in permissions.items():
            several = [actions] if isinstance(actions, str) else list(actions)
            if not several or not resource or ":" in resource or not all(several):
                raise ConfigurationError(f"{what}: {resource!r} must be a resource without a colon, with its actions")
            found += [f"{resource}:{action}" for action in several]
    else:
        found = list(permissions)
    if not found or not all(isinstance(one, str) and one for one in found):
        # An empty list would protect nothing.
        raise ConfigurationError(f"{what}: must be `resource:action`, several, or resources with their actions")
    return tuple(found)


def may(user: User, wanted: Iterable[str], roles: RolePermissions) -> bool:
    """Whether one of the user's roles, or what the server says of the user, allows all of it. As upstream decides:
    two roles that allow a half each do not add up."""
    wanted = frozenset(wanted)
    return wanted <= _claimed(user.get(CLAIM)) or any(wanted <= roles.get(role, frozenset()) for role in user.roles)


def _claimed(value: object) -> frozenset[str]:
    # Whatever is written in another way allows nothing.
    if isinstance(value, list):
        return frozenset(one for one in value if isinstance(one, str))
    if isinstance(value, dict):
        return frozenset(
            f"{resource}:{action}"
            for resource, actions in value.items()
            if isinstance(actions, list) and ":" not in resource
            for action in actions
            if isinstance(action, str)
        )
    return frozenset()
