"""Who is asking, and what routes need besides.

`CurrentReader` verifies the access token here, with Narthex's public keys: no request is made for it.
"""

from typing import Annotated

from fastapi import Depends
from fastapi.security import OAuth2PasswordBearer
from narthex import Auth
from sqlalchemy.orm import Session

from backend.auth.models import Reader, database
from backend.config import settings

auth = Auth[Reader](issuer=settings().better_auth_url, cookies=False, session_tokens=False)
# "Authorize" in /docs asks for an address and a password.
authorize = OAuth2PasswordBearer(tokenUrl="auth/signin", auto_error=False)

CurrentReader = Annotated[Reader, Depends(auth.user())]
Database = Annotated[Session, Depends(database)]
