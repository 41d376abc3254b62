"""Presentation layer: what requests and replies look like.

Those of signing up and in are made by Narthex from the fields in `narthex.toml`; ours are what the services answer.
"""

from narthex.fastapi import auth_router
from pydantic import BaseModel

router = auth_router()
SignUp = router.models["SignUp"]
SignIn = router.models["SignIn"]
Tokens = router.models["Tokens"]


class Profile(BaseModel):
    id: str
    name: str
    email: str
    software_background: str | None
    hardware_background: str | None


class Suggestion(BaseModel):
    """Where to begin to read."""

    chapter: str
    because: str
    readers_like_you: int
