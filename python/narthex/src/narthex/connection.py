"""What FastAPI and Starlette share: the request that the verifier sees of an ASGI connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .credentials import Request


def request_of_scope(scope: Mapping[str, Any]) -> Request:
    """Reads every header of a name, because a second one is what an attacker would hide behind the first."""
    found: dict[str, list[str]] = {
        "authorization": [],
        "cookie": [],
        "origin": [],
        "sec-websocket-protocol": [],
    }
    for name, value in scope["headers"]:
        values = found.get(name.decode("latin-1").lower())
        if values is not None:
            values.append(value.decode("latin-1"))
    websocket = scope["type"] == "websocket"
    route = scope.get("route")
    # The route as it was declared: paths with ids in them would be a series of metrics each.
    endpoint = getattr(route, "path", None)
    return Request(
        method="WEBSOCKET" if websocket else scope["method"],
        authorization=found["authorization"],
        cookies=found["cookie"],
        origins=found["origin"],
        endpoint=endpoint if isinstance(endpoint, str) else "",
        websocket=websocket,
        protocols=found["sec-websocket-protocol"],
    )


def header_values(value: str | None) -> Sequence[str]:
    """A header of frameworks that join repeated ones with commas (WSGI): a second credential is still seen."""
    if value is None:
        return ()
    parts = [part.strip() for part in value.split(",")]
    # Commas also stand inside the headers of other schemes, which are not ours.
    return parts if any(part.lower().startswith("bearer") for part in parts) else [value]


def origin_values(value: str | None) -> Sequence[str]:
    """As `header_values`; an origin has no comma."""
    return () if value is None else [part.strip() for part in value.split(",")]
