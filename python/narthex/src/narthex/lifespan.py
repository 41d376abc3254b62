"""A Narthex for as long as an ASGI application runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from .server import Server

Lifespan = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]]


def lifespan(
    *inside: Lifespan,
    config: str | os.PathLike[str] | None = None,
    base_url: str | None = None,
    database: str | None = None,
    environment: Mapping[str, str] | None = None,
    binary: str | os.PathLike[str] | None = None,
    start_timeout: float = 30,
    stop_timeout: float = 25,
) -> Callable[[Any], AbstractAsyncContextManager[dict[str, Any]]]:
    """For `FastAPI(lifespan=lifespan())`: starts Narthex before the first request and stops it after the last one.

    app = FastAPI(lifespan=lifespan(auth.lifespan, my_own, config="narthex.toml"))

    What runs `inside` starts once Narthex answers and ends before it is stopped. The running server is
    `app.state.narthex`, and `narthex.server.current()`.
    """

    @asynccontextmanager
    async def running(app: Any) -> AsyncIterator[dict[str, Any]]:
        server = Server(
            config,
            base_url=base_url,
            database=database,
            environment=environment,
            binary=binary,
            start_timeout=start_timeout,
            stop_timeout=stop_timeout,
        )
        try:
            await asyncio.to_thread(server.start)
            app.state.narthex = server
            async with AsyncExitStack() as stack:
                state: dict[str, Any] = {}
                for one in inside:
                    more = await stack.enter_async_context(one(app))
                    state |= dict(more or {})
                yield state
        finally:
            app.state.narthex = None
            # Requests that it still has may take a while.
            await asyncio.to_thread(server.stop)

    return running
