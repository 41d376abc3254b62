"""Narthex's endpoints as routes of a FastAPI application.

`auth_router` has the token API, described as if the application had it itself; `better_auth_router` hands on whatever
Better Auth's client asks. Both only forward: what is judged is judged by Narthex, so that there are no two opinions.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from .forward import Forwarder, Target

try:
    from fastapi import APIRouter, Security
    from fastapi.openapi.models import HTTPBearer
    from pydantic import BaseModel
    from starlette.requests import Request
    from starlette.responses import Response
except ImportError as error:
    raise ImportError("this needs FastAPI: pip install 'narthex[server]'") from error

from .fastapi import _Scheme
from .server import current, find_binary
from .token_api import PREFIX, Endpoint, TokenApi, described_by_binary, described_in, described_without_fields

PathLike = str | os.PathLike[str]
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class AuthRouter(APIRouter):
    """What `auth_router` makes: a router, and the models of what it takes and answers."""

    models: Mapping[str, type[BaseModel]]


def auth_router(
    *,
    config: PathLike | None = None,
    binary: PathLike | None = None,
    environment: Mapping[str, str] | None = None,
    openapi: Mapping[str, Any] | PathLike | None = None,
    url: str | None = None,
    base_path: str = "/api/auth",
) -> AuthRouter:
    """`POST /signup`, `/signin`, `/refresh`, `/signout` and `GET /me`, answered by Narthex's plugin `token-api`.

    app = FastAPI(lifespan=lifespan())
    app.include_router(auth_router(), prefix="/auth", tags=["auth"])

    What they take is asked of the binary once, here, with the same `config` and `environment` as the lifespan's.
    `openapi` is for images without it: what `narthex routes --openapi` printed, or the file. `url` is a Narthex that
    somebody else runs, `http://…` or `unix:/…`; without one of the others the operator's fields are then not shown.
    """
    if openapi is not None:
        document = described_in(openapi)
    elif url is not None and binary is None and config is None:
        document = described_without_fields()
    else:
        document = described_by_binary(find_binary(binary), config, environment)
    api = TokenApi(document)
    forwarder, find = Forwarder(), _finder(url, base_path)
    router = AuthRouter(lifespan=forwarder.lifespan)
    router.models = api.models
    token = _Scheme("bearer", HTTPBearer(bearerFormat="JWT", description="An access token"))
    for endpoint in api.endpoints:
        router.add_api_route(
            f"/{endpoint.name}",
            _forwarding(endpoint, forwarder, find),
            methods=[endpoint.method],
            summary=endpoint.summary,
            response_model=endpoint.reply,
            response_description=endpoint.description,
            responses=endpoint.responses,
            openapi_extra=endpoint.extra,
            dependencies=[Security(token)] if endpoint.is_guarded else None,
        )
    return router


def better_auth_router(*, url: str | None = None, base_path: str = "/api/auth") -> APIRouter:
    """Everything that Better Auth's client asks, for pages whose sessions are in cookies.

    app.include_router(better_auth_router(), prefix="/api/auth")

    The prefix has to be the server's `base-path`, because links in messages and redirects lead there. The routes are
    not in the application's documentation: there are as many as there are plugins.
    """
    forwarder, find = Forwarder(), _finder(url, base_path)
    router = APIRouter(lifespan=forwarder.lifespan)

    async def better_auth(request: Request) -> Response:
        target = find(request)
        return await forwarder.forward(request, target, f"/{request.path_params['path']}") if target else _nobody()

    router.add_api_route("/{path:path}", better_auth, methods=_METHODS, include_in_schema=False)
    return router


def _forwarding(
    endpoint: Endpoint, forwarder: Forwarder, find: Callable[[Request], Target | None]
) -> Callable[..., Awaitable[Response]]:
    async def forward(request: Request) -> Response:
        target = find(request)
        return await forwarder.forward(request, target, f"{PREFIX}{endpoint.name}") if target else _nobody()

    # FastAPI makes the operation's id of it.
    forward.__name__ = endpoint.name
    return forward


def _finder(url: str | None, base_path: str) -> Callable[[Request], Target | None]:
    """Says where Narthex is, for each request: another one may have been started since."""
    if url is None:
        return _running
    fixed = Target.of_url(url, base_path)
    return lambda _request: fixed


def _running(request: Request) -> Target | None:
    """The one that this application's lifespan has started, or else, in an application inside another, this process."""
    server = getattr(request.app.state, "narthex", None) or current()
    if server is None or server.socket is None:
        return None
    return Target("http://localhost", str(server.socket), server.base_path)


def _nobody() -> Response:
    return Forwarder.away("none is running; start it with FastAPI(lifespan=narthex.fastapi.lifespan()), or say url=")
