"""Asks the server whose session a cookie or a session token is, and remembers the answer for a moment."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from .clock import Clock
from .credentials import Credential
from .errors import InvalidCredential, Unavailable
from .fetch import Fetch, FetchError
from .jose import Malformed, parse_object
from .steps import Flights, Steps

LARGEST_SESSION = 256 * 1024
# Questions at the same time; more wait with the client, who is told so.
MOST_QUESTIONS = 64

_log = logging.getLogger("narthex")


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How the server is asked and how long its answer is believed, in seconds."""

    lifetime: float = 10
    most_cached: int = 10_000
    timeout: float = 5
    # A server without a database has its sessions nowhere else. Any other would go by what it wrote minutes ago.
    cookie_cache: bool = False


@dataclass(frozen=True, slots=True)
class Session:
    """What the server said of a session."""

    id: str | None
    user: dict[str, Any] = field(repr=False)
    fields: Mapping[str, Any] = field(repr=False)
    asked: float


@dataclass(frozen=True, slots=True)
class _Answer:
    session: Session | None
    until: float
    expires: float


class Sessions:
    """`/get-session`, once for all who ask for the same session at the same time."""

    def __init__(self, url: str, options: SessionOptions, fetch: Fetch, clock: Clock):
        # The renewed cookies could not be handed on, so the session is not renewed.
        cache = "" if options.cookie_cache else "disableCookieCache=true&"
        self._url = f"{url}?{cache}disableRefresh=true"
        self._options = options
        self._fetch = fetch
        self._clock = clock
        self._flights = Flights(MOST_QUESTIONS)
        self._lock = threading.Lock()
        self._answers: OrderedDict[bytes, _Answer] = OrderedDict()

    def find(self, credential: Credential) -> Steps[Session]:
        """The session, from memory or from the server."""
        # The cache holds no credentials, only what cannot be turned back into them.
        key = hashlib.sha256(f"{credential.kind} {credential.value}".encode()).digest()
        answer = self._remembered(key)
        if answer is None:
            future: Future[_Answer] = self._flights.run(key, lambda: self._ask(key, credential))
            answer = yield future
        if answer.session is None:
            raise InvalidCredential("no session", reason="no_session", detail="The session is not valid")
        return answer.session

    def _remembered(self, key: bytes) -> _Answer | None:
        with self._lock:
            answer = self._answers.get(key)
            if answer is None:
                return None
            if self._clock.monotonic() >= answer.until or self._clock.now() >= answer.expires:
                del self._answers[key]
                return None
            self._answers.move_to_end(key)
            return answer

    def _ask(self, key: bytes, credential: Credential) -> _Answer:
        # Taken before the question: what is revoked while the server answers is revoked after this.
        asked = self._clock.now()
        until = self._clock.monotonic() + self._options.lifetime
        name, value = ("Cookie", "") if credential.kind == "cookie" else ("Authorization", "Bearer ")
        headers = {"Accept": "application/json", name: value + credential.value}
        try:
            response = self._fetch(self._url, headers, seconds=self._options.timeout, largest=LARGEST_SESSION)
        except FetchError as error:
            _log.warning("the session could not be asked for at %s: %s", self._url, error)
            raise Unavailable(f"the session could not be asked for: {error}") from error
        if response.status in (401, 403):
            answer = _Answer(None, until, float("inf"))
        elif response.status != 200:
            _log.warning("%s answered %d", self._url, response.status)
            raise Unavailable(f"/get-session answered {response.status}", retry_after=_seconds(response.headers))
        else:
            answer = self._read(response.body, credential, asked, until)
        with self._lock:
            self._answers[key] = answer
            while len(self._answers) > self._options.most_cached:
                self._answers.popitem(last=False)
        return answer

    def _read(self, body: bytes, credential: Credential, asked: float, until: float) -> _Answer:
        if body.strip() == b"null":
            return _Answer(None, until, float("inf"))
        try:
            document = parse_object(body)
            session, user = document.get("session"), document.get("user")
            if not isinstance(session, dict) or not isinstance(user, dict):
                raise Malformed("no session and user")
            user_id = user.get("id")
            if not isinstance(user_id, str) or not user_id or session.get("userId", user_id) != user_id:
                raise Malformed("the session is not the user's")
            token = session.pop("token", None)
            if token is not None and not (isinstance(token, str) and credential.is_for(token)):
                # A cache or a proxy between may have mixed up two answers.
                raise Malformed("the session is another than was asked for")
            expires = moment(session.get("expiresAt"))
            session_id = session.get("id")
            if session_id is not None and not isinstance(session_id, str):
                raise Malformed("the session's id is no text")
        except Malformed as error:
            _log.warning("what %s answered is not understood: %s", self._url, error)
            raise Unavailable(f"the session is not understood: {error}") from error
        if self._clock.now() >= expires:
            return _Answer(None, until, float("inf"))
        return _Answer(Session(session_id, user, session, asked), until, expires)


def moment(value: object) -> float:
    """A date of the server, in seconds since 1970."""
    if isinstance(value, str):
        try:
            date = datetime.fromisoformat(value)
        except ValueError:
            pass
        else:
            return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    raise Malformed("a date is not written as one")


def _seconds(headers: Any) -> int:
    text = headers.get("retry-after") or headers.get("x-retry-after") or ""
    return min(int(text), 3600) if text.isdecimal() and len(text) < 9 else 5
