"""Follows the server's list of revoked sessions and users, so that a sign-out or a ban ends tokens within seconds.

The list is signed with the tokens' keys. It can never be taken for a token nor a token for it: type and audience
differ. An older list than the one that is known is refused, until that one has ended: then whatever is older has ended
as well, and what is valid is the list of a server whose numbers began anew. A thread of its own fetches it, by long
polls where the server offers them; in async programs as well, because it must go on while the event loop is busy.
"""

from __future__ import annotations

import hashlib
import logging
import random
import threading
import urllib.parse
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal, get_args

from . import claims, jose
from .clock import Clock
from .errors import AuthError, ConfigurationError, InvalidCredential, Unavailable
from .fetch import Abort, Fetch, FetchError, Response
from .jwks import Keys
from .steps import Flights, Steps, drive, forget_after_fork

TYPE = "revocations+jwt"
AUDIENCE = "urn:narthex:revocations"
LARGEST_LIST = 4 * 1024 * 1024
WORST_BACKOFF = 60.0
# Between two questions, also where each finds something new.
SHORTEST_PAUSE = 1.0
# A list with less than this before it is sent anew, and nobody waits for news instead.
SHORTEST_REST = 10.0

Stale = Literal["refuse", "ask", "accept"]
WithoutSession = Literal["refuse", "accept"]
_log = logging.getLogger("narthex")


@dataclass(frozen=True, slots=True)
class RevocationOptions:
    """Where the list is and what happens when it is out of date; times in seconds."""

    stale: Stale = "ask"
    longest_age: float = 60
    long_poll: int = 25
    interval: float = 5
    timeout: float = 5
    secret: str | None = None
    # Nobody could sign out of a token that names no session, whatever the list says.
    without_session: WithoutSession = "refuse"

    def __post_init__(self) -> None:
        for name, allowed in (("stale", get_args(Stale)), ("without_session", get_args(WithoutSession))):
            if getattr(self, name) not in allowed:
                raise ConfigurationError(f"{name}: must be one of {', '.join(allowed)}")

    def __repr__(self) -> str:
        return f"RevocationOptions(stale={self.stale!r}, without_session={self.without_session!r})"


@dataclass(frozen=True, slots=True)
class RevocationList:
    """One list: what it refuses is decided by hashes, so that it tells nobody an id."""

    number: int
    issued: float
    expires: float
    sessions: frozenset[str]
    users: Mapping[str, float]
    everybody: float

    def refuses(self, user_id: str, session_id: str | None, issued: float | None) -> bool:
        """Whether a credential of that user, session and time has been revoked."""
        # Who does not say when it was issued is as old as can be.
        moment = 0.0 if issued is None else issued
        if moment < self.everybody:
            return True
        if self.users and moment < self.users.get(hashed(user_id), 0.0):
            return True
        return bool(self.sessions) and session_id is not None and hashed(session_id) in self.sessions


def hashed(name: str) -> str:
    """An id as the list holds it."""
    return jose.encode_base64url(hashlib.sha256(name.encode()).digest()[:16]).decode()


def read_list(payload: Mapping[str, Any], issuer: str | None, now: float, leeway: float) -> RevocationList:
    """The list, if its claims hold now and every entry is understood."""
    if payload.get("aud") != AUDIENCE:
        raise jose.Malformed("no list of revocations")
    if issuer is not None and payload.get("iss") != issuer:
        raise jose.Malformed("a list of another issuer")
    number, entries = payload.get("seq"), payload.get("entries")
    issued, expires = claims.time(payload, "iat"), claims.time(payload, "exp")
    if isinstance(number, bool) or not isinstance(number, int) or not isinstance(entries, list):
        raise jose.Malformed("a list without number or entries")
    if issued is None or expires is None or issued > now + leeway:
        raise jose.Malformed("a list without its times")
    if now >= expires:
        raise jose.Malformed("an expired list")
    sessions: set[str] = set()
    users: dict[str, float] = {}
    everybody = 0.0
    for entry in entries:
        match entry:
            case ["s", str(name)]:
                sessions.add(name)
            case ["u", str(name), int() | float() as moment] if not isinstance(moment, bool):
                users[name] = max(users.get(name, 0.0), moment)
            case ["g", int() | float() as moment] if not isinstance(moment, bool):
                everybody = max(everybody, moment)
            case _:
                # What is not understood may revoke something.
                raise jose.Malformed("a list with an entry that is not understood")
    return RevocationList(number, issued, expires, frozenset(sessions), users, everybody)


class Revocations:
    """The newest list, and the thread that keeps it new."""

    def __init__(
        self,
        url: str,
        issuer: str | None,
        options: RevocationOptions,
        *,
        keys: Keys,
        fetch: Fetch,
        clock: Clock,
        leeway: float,
        follow: bool = True,
    ):
        self._url = url
        self._issuer = issuer
        self._options = options
        self._keys = keys
        self._fetch = fetch
        self._clock = clock
        self._leeway = leeway
        self._follows = follow
        self._flights = Flights(1)
        self._lock = threading.Lock()
        self._list: RevocationList | None = None
        self._etag: str | None = None
        self._confirmed = 0.0
        self._asked: float | None = None
        self._stop = threading.Event()
        self._abort = Abort()
        self._thread: threading.Thread | None = None
        forget_after_fork(self)

    def forget(self) -> None:
        """Begins anew in the child of a fork, which has the list but not the thread."""
        # Cutting the connection here would cut the parent's: it is the same one.
        self._lock, self._thread, self._abort = threading.Lock(), None, Abort()

    def check_token(self, user_id: str, session_id: str | None, issued: float | None) -> Steps[None]:
        """As `check`; a token that names no session is refused, as configured, because no sign-out would end it."""
        if session_id is None and self._options.without_session != "accept":
            raise InvalidCredential(
                "it names no session (sid), so that no sign-out would end it: see without_session",
                reason="no_session_id",
            )
        yield from self.check(user_id, session_id, issued)

    def check(self, user_id: str, session_id: str | None, issued: float | None) -> Steps[None]:
        """Refuses what has been revoked, and what nobody can know about, as configured."""
        self.start()
        newest = self._list
        if newest is None or self.is_stale():
            newest = yield from self._when_stale()
        if newest is not None and newest.refuses(user_id, session_id, issued):
            raise InvalidCredential("revoked", reason="revoked", detail="The session has ended")

    def is_stale(self) -> bool:
        """Whether there is no list, or none that was confirmed lately."""
        newest = self._list
        return (
            newest is None
            or self._clock.now() >= newest.expires
            or self._clock.monotonic() - self._confirmed > self._options.longest_age
        )

    def number(self) -> int | None:
        """The number of the newest list."""
        return None if self._list is None else self._list.number

    def _when_stale(self) -> Steps[RevocationList | None]:
        if self._options.stale == "ask":
            asked = self._asked
            if asked is None or self._clock.monotonic() - asked >= SHORTEST_PAUSE or self._flights.is_running(0):
                yield self._ask()
            if not self.is_stale():
                return self._list
        if self._options.stale == "accept":
            # What is known to be revoked stays revoked.
            return self._list
        raise Unavailable("the list of revocations is out of date")

    def _ask(self) -> Future[bool]:
        self._asked = self._clock.monotonic()
        return self._flights.run(0, self.refresh)

    def refresh(self) -> bool:
        """Asks once; raises `Unavailable` when there is no list to be had."""
        try:
            self.poll(wait=0)
        except (FetchError, AuthError, jose.Malformed) as error:
            _log.warning("the list of revocations could not be fetched from %s: %s", self._url, error)
            raise Unavailable(f"the list of revocations could not be fetched: {error}") from error
        return True

    def poll(self, wait: int, abort: Abort | None = None) -> bool:
        """Asks once, and waits on the server up to `wait` seconds for news. True when there were some."""
        asked = self._clock.monotonic()
        known = self._list
        headers = {"Accept": "application/jwt"}
        if self._options.secret is not None:
            headers["Authorization"] = f"Bearer {self._options.secret}"
        if known is not None and known.expires - self._clock.now() <= wait + SHORTEST_REST:
            # A list that is about to end must be sent anew and at once: a confirmation would not lengthen it.
            wait = 0
        elif known is not None and self._etag is not None:
            headers["If-None-Match"] = self._etag
        query: dict[str, int] = {}
        if known is not None and wait > 0:
            query = {"wait": wait, "after": known.number}
        url = f"{self._url}?{urllib.parse.urlencode(query)}" if query else self._url
        response = self._fetch(url, headers, seconds=wait + self._options.timeout, largest=LARGEST_LIST, abort=abort)
        if response.status == 304 and "If-None-Match" in headers:
            self._confirmed = self._clock.monotonic() if wait else asked
            return False
        if response.status != 200:
            raise FetchError(f"answered {response.status}")
        # What is answered at once may be as old as the question; a held answer is not.
        return self._take(response, self._clock.monotonic() if wait else asked)

    def _take(self, response: Response, confirmed: float) -> bool:
        try:
            text = response.body.decode("ascii")
        except UnicodeDecodeError:
            raise jose.Malformed("not ASCII") from None
        token = jose.parse(text, LARGEST_LIST)
        if token.type != TYPE:
            raise jose.Malformed("no list of revocations")
        key = drive(self._keys.find(token.key_id))
        newest = read_list(token.verified_payload(key), self._issuer, self._clock.now(), self._leeway)
        with self._lock:
            known = self._list
            if known is not None and self._is_replayed(newest, known):
                raise jose.Malformed(f"list {newest.number} is older than {known.number}, which is known")
            if known is not None and newest.number < known.number:
                _log.warning("%s: the numbers of the list began anew, at %d", self._url, newest.number)
            self._list = newest
            self._etag = response.headers.get("etag")
            self._confirmed = confirmed
        return known is None or newest.number != known.number

    def _is_replayed(self, newest: RevocationList, known: RevocationList) -> bool:
        if newest.number == known.number:
            # Instances of the server sign the same list by clocks of their own.
            return newest.issued < known.issued - self._leeway
        if newest.number > known.number:
            return False
        # It may come from an instance that lags behind. Once `known` has ended, what was signed after it is the list.
        return self._clock.now() < known.expires or newest.issued <= known.issued

    def start(self, *, again: bool = False) -> None:
        """Starts the thread, unless it runs; after a fork the child starts its own. After `close` only `again`."""
        if again and self._stop.is_set():
            # A thread that is still ending keeps the old ones.
            self._abort, self._stop, self._thread = Abort(), threading.Event(), None
        thread = self._thread
        if not self._follows or (thread is not None and thread.is_alive()) or self._stop.is_set():
            return
        with self._lock:
            if self._thread is thread:
                self._thread = threading.Thread(
                    target=self._follow, args=(self._stop, self._abort), name="narthex-revocations", daemon=True
                )
                self._thread.start()

    def close(self) -> None:
        """Ends the thread and cuts its connection. Requests that still come ask for themselves."""
        self._stop.set()
        self._abort.abort()
        thread = self._thread
        if thread is not None and thread.is_alive():
            thread.join(self._options.timeout)

    def _follow(self, stop: threading.Event, abort: Abort) -> None:
        failures = 0
        while not stop.is_set():
            began = self._clock.monotonic()
            try:
                if self._list is None:
                    # The first list is what requests wait for: fetched once, for them and for this thread.
                    self._ask().result()
                    failures = 0
                    continue
                changed = self.poll(self._options.long_poll, abort)
                failures = 0
                held = self._clock.monotonic() - began >= SHORTEST_PAUSE
                pause = SHORTEST_PAUSE if changed or held else self._options.interval
            except (FetchError, AuthError, jose.Malformed) as error:
                if stop.is_set():
                    return
                failures += 1
                pause = backoff(failures)
                _log.warning("the list of revocations is not followed for %.0f s: %s", pause, error)
            except Exception:  # noqa: BLE001 - see below
                # Whatever it is, giving up would leave revoked tokens valid without anybody noticing.
                failures += 1
                pause = backoff(failures)
                _log.exception("the list of revocations is not followed for %.0f s", pause)
            stop.wait(pause)


def backoff(failures: int) -> float:
    """One second, doubled with each failure up to a minute, with chance so that instances do not ask together."""
    longest: float = min(WORST_BACKOFF, 2.0 ** min(failures - 1, 6))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, protects nothing
