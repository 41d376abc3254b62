"""The server's public keys: fetched when needed, kept for a while, and not fetched at an attacker's pace.

* One request at a time, for all who wait.
* A key that is not in the set is looked for once; then its id is refused for a while without asking.
* Between two requests lies the refetch floor, whatever tokens arrive.
* When the server cannot be reached, the last keys are used on, up to a bound.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass

from .clock import Clock
from .errors import InvalidCredential, Unavailable
from .fetch import Fetch, FetchError
from .jose import Key, Malformed, keys_from_set
from .steps import Flights, Steps

LARGEST_SET = 256 * 1024
SHORTEST_LIFE, LONGEST_LIFE = 30.0, 3600.0
# How many unknown ids are remembered; an attacker's flood pushes out only other unknown ids.
MOST_UNKNOWN = 256

_log = logging.getLogger("narthex")


@dataclass(frozen=True, slots=True)
class JwksOptions:
    """How keys are fetched and how long they are believed; in seconds."""

    lifetime: float = 300
    refetch_floor: float = 10
    unknown_key_lifetime: float = 60
    longest_stale: float = 3600
    timeout: float = 5


@dataclass(frozen=True, slots=True)
class _Snapshot:
    keys: Mapping[str, Key]
    etag: str | None
    fetched: float
    lifetime: float


class RemoteKeys:
    """The key set behind a URL."""

    def __init__(self, url: str, options: JwksOptions, fetch: Fetch, clock: Clock):
        self._url = url
        self._options = options
        self._fetch = fetch
        self._clock = clock
        self._flights = Flights(1)
        self._lock = threading.Lock()
        self._snapshot: _Snapshot | None = None
        self._attempted: float | None = None
        self._failed = False
        self._unknown: OrderedDict[str, float] = OrderedDict()

    def cached(self, key_id: str | None) -> Key | None:
        """The key if it can be had without waiting: the path of nearly every request."""
        snapshot = self._snapshot
        if snapshot is None or key_id is None:
            return None
        age = self._clock.monotonic() - snapshot.fetched
        if age >= snapshot.lifetime:
            return None
        if age >= 0.8 * snapshot.lifetime and self._may_fetch():
            # Ahead of time, so that no request waits for it.
            self._start()
        return snapshot.keys.get(key_id)

    def find(self, key_id: str | None) -> Steps[Key]:
        """The key, after asking the server where that is due."""
        if key_id is None:
            raise InvalidCredential("the header names no key", reason="unknown_key")
        snapshot = self._snapshot
        if snapshot is None or self._age(snapshot) >= snapshot.lifetime:
            snapshot = yield from self._renewed(snapshot)
        key = snapshot.keys.get(key_id)
        if key is not None:
            return key
        if self._is_known_to_be_unknown(key_id) or not self._may_fetch():
            raise InvalidCredential("no key of that id", reason="unknown_key")
        try:
            renewed: _Snapshot = yield self._start()
        except Unavailable:
            # The keys that are there are still good; only this one may be new.
            raise InvalidCredential(
                "no key of that id, and the keys could not be fetched", reason="unknown_key"
            ) from None
        key = renewed.keys.get(key_id)
        if key is None:
            self._remember_unknown(key_id)
            raise InvalidCredential("no key of that id", reason="unknown_key")
        return key

    def prefetch(self) -> None:
        """Begins to fetch, without waiting."""
        if self._snapshot is None and self._may_fetch():
            self._start()

    def age(self) -> float | None:
        """Seconds since the keys were fetched."""
        snapshot = self._snapshot
        return None if snapshot is None else self._age(snapshot)

    def _age(self, snapshot: _Snapshot) -> float:
        return self._clock.monotonic() - snapshot.fetched

    def _renewed(self, snapshot: _Snapshot | None) -> Steps[_Snapshot]:
        usable = snapshot is not None and self._age(snapshot) < snapshot.lifetime + self._options.longest_stale
        if snapshot is not None and usable and self._failed:
            # The server is away: nobody waits for it while the last keys may be used.
            if self._may_fetch():
                self._start()
            return snapshot
        # An attempt that neither failed nor is under way was the parent's before a fork.
        if self._failed and not self._may_fetch() and not self._in_flight():
            if snapshot is not None and usable:
                return snapshot
            raise Unavailable("no keys, and the last attempt has only just failed")
        try:
            renewed: _Snapshot = yield self._start()
        except Unavailable:
            if snapshot is None or not usable:
                raise
            return snapshot
        return renewed

    def _in_flight(self) -> bool:
        return self._flights.is_running(self._url)

    def _may_fetch(self) -> bool:
        attempted = self._attempted
        return attempted is None or self._clock.monotonic() - attempted >= self._options.refetch_floor

    def _start(self) -> Future[_Snapshot]:
        return self._flights.run(self._url, self._load)

    def _load(self) -> _Snapshot:
        self._attempted = self._clock.monotonic()
        last = self._snapshot
        headers = {"Accept": "application/json"}
        if last is not None and last.etag is not None:
            headers["If-None-Match"] = last.etag
        try:
            response = self._fetch(self._url, headers, seconds=self._options.timeout, largest=LARGEST_SET)
            lifetime = self._lifetime(response.headers.get("cache-control", ""))
            if response.status == 304 and last is not None:
                snapshot = _Snapshot(last.keys, last.etag, self._clock.monotonic(), lifetime)
            elif response.status != 200:
                raise FetchError(f"answered {response.status}")
            else:
                keys, problems = keys_from_set(response.body)
                for problem in problems:
                    _log.warning("%s: %s", self._url, problem)
                if not keys:
                    raise FetchError("no usable key")
                snapshot = _Snapshot(keys, response.headers.get("etag"), self._clock.monotonic(), lifetime)
        except (FetchError, Malformed) as error:
            self._failed = True
            _log.warning("the keys could not be fetched from %s: %s", self._url, error)
            raise Unavailable(f"the keys could not be fetched: {error}") from error
        self._failed = False
        self._snapshot = snapshot
        return snapshot

    def _lifetime(self, cache_control: str) -> float:
        found = re.search(r"(?:^|[\s,])max-age=(\d{1,9})(?:$|[\s,;])", cache_control.lower())
        if found is None:
            return self._options.lifetime
        return min(max(float(found[1]), SHORTEST_LIFE), LONGEST_LIFE)

    def _is_known_to_be_unknown(self, key_id: str) -> bool:
        with self._lock:
            until = self._unknown.get(key_id)
        return until is not None and self._clock.monotonic() < until

    def _remember_unknown(self, key_id: str) -> None:
        with self._lock:
            self._unknown[key_id] = self._clock.monotonic() + self._options.unknown_key_lifetime
            self._unknown.move_to_end(key_id)
            while len(self._unknown) > MOST_UNKNOWN:
                self._unknown.popitem(last=False)


class FixedKeys:
    """Keys that are given and never fetched: the shared secret, or a key set in a file."""

    def __init__(self, keys: Mapping[str, Key], secret: Key | None = None):
        self._keys = dict(keys)
        self._secret = secret

    def cached(self, key_id: str | None) -> Key | None:
        """The key."""
        return self._secret or (None if key_id is None else self._keys.get(key_id))

    def find(self, key_id: str | None) -> Steps[Key]:
        """The key, or a refusal: there is nobody to ask."""
        yield from ()
        key = self.cached(key_id)
        if key is None:
            raise InvalidCredential("no key of that id", reason="unknown_key")
        return key

    def age(self) -> float | None:
        """They do not age."""
        return 0.0


Keys = RemoteKeys | FixedKeys
