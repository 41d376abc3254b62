"""The application, with Narthex in it: `uvicorn backend.auth.main:app`."""

from fastapi import APIRouter, Depends, FastAPI, HTTPException
from narthex.fastapi import better_auth_router, lifespan
from starlette.middleware.httpsredirect import HTTPSRedirectMiddleware

from backend.auth import schemas, services
from backend.auth.dependencies import CurrentReader, Database, authorize
from backend.config import Settings, settings

readers = APIRouter(prefix="/readers", tags=["readers"], dependencies=[Depends(authorize)])


@readers.get("/me")
def me(reader: CurrentReader, database: Database) -> schemas.Profile:
    """What is known about the reader."""
    found = services.profile(database, reader)
    if found is None:
        raise HTTPException(404, "The account is gone")
    return found


@readers.get("/me/suggestion")
def suggestion(reader: CurrentReader, database: Database) -> schemas.Suggestion:
    """Where they should begin."""
    return services.suggestion(database, reader)


def application(options: Settings) -> FastAPI:
    app = FastAPI(title="Readers", lifespan=lifespan())
    if options.is_https:
        app.add_middleware(HTTPSRedirectMiddleware)
    # POST /auth/signup, /auth/signin, /auth/refresh, /auth/signout, GET /auth/me
    app.include_router(schemas.router, prefix="/auth", tags=["auth"])
    # What Better Auth's client in a browser asks.
    app.include_router(better_auth_router(), prefix="/api/auth")
    app.include_router(readers)
    return app


app = application(settings())
