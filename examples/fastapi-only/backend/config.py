"""Settings, from the environment or `.env`. Narthex reads the same variables, so that each is said once."""

from functools import lru_cache

from dotenv import load_dotenv
from pydantic_settings import BaseSettings
from sqlalchemy.engine import URL, make_url

# Into the environment, which Narthex is started with.
load_dotenv()


class Settings(BaseSettings):
    """Where users find the application, and where its data is."""

    better_auth_url: str = "http://localhost:8000"
    database_url: str = "sqlite://narthex.db"

    @property
    def is_https(self) -> bool:
        return self.better_auth_url.startswith("https://")

    @property
    def sqlalchemy_url(self) -> URL:
        """The same database in SQLAlchemy's words."""
        if self.database_url.startswith("sqlite://"):
            return URL.create("sqlite", database=self.database_url.removeprefix("sqlite://"))
        return make_url(self.database_url).set(drivername="postgresql+psycopg")


@lru_cache
def settings() -> Settings:
    return Settings()
