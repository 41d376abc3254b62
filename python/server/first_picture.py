"""The smallest application with accounts: Narthex runs inside it, from the wheel."""

from typing import Annotated

from fastapi import Depends, FastAPI
from narthex import Auth, User
from narthex.fastapi import auth_router, lifespan

auth = Auth(issuer="http://localhost:8000")
app = FastAPI(lifespan=lifespan(auth.lifespan))
app.include_router(auth_router(), prefix="/auth", tags=["auth"])


@app.get("/hello")
async def hello(user: Annotated[User, Depends(auth.user())]) -> str:
    return f"Hello {user['name']}"
