"""Data layer: users, as a token names them and as the database has them.

The tables are Narthex's: it makes them, writes them, and keeps passwords in another one. Here they are only read.
"""

from collections.abc import Iterator
from datetime import datetime

from narthex import User
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from backend.config import settings


class Reader(User):
    """Who is asking, as their token says. It was true when they signed in."""

    software_background: str | None = None
    hardware_background: str | None = None


class Base(DeclarativeBase):
    pass


class ReaderRow(Base):
    """A user as of now."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(primary_key=True)
    email: Mapped[str]
    name: Mapped[str]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    software_background: Mapped[str | None]
    hardware_background: Mapped[str | None]


engine = create_engine(settings().sqlalchemy_url, pool_pre_ping=True)


def database() -> Iterator[Session]:
    with Session(engine) as session:
        yield session
