"""The verifier without a framework: credential in, user out. The frameworks' `Auth` classes add no rules to it."""

from __future__ import annotations

import hmac
import json
import logging
import os
import types
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Generic, Self, cast, get_args

from . import claims, jose
from .clock import Clock
from .credentials import CookieNames, Credential, Request, bearer, check_origin
from .errors import (
    AmbiguousCredential,
    AuthError,
    ConfigurationError,
    Forbidden,
    InvalidCredential,
    NotAuthenticated,
    SessionEnded,
)
from .fetch import Fetch, unix_path
from .fetch import fetch as fetch_by_http
from .jwks import FixedKeys, JwksOptions, Keys, RemoteKeys
from .permissions import Permissions, permissions_of_roles
from .requirement import Requirement
from .revocations import TYPE as REVOCATIONS_TYPE
from .revocations import RevocationOptions, Revocations
from .sessions import Session, SessionOptions, Sessions, moment
from .steps import Steps, drive, drive_async
from .telemetry import Event, Metrics, Observer
from .user import User, UserT, check_user_type

_log = logging.getLogger("narthex")


class Authenticator(Generic[UserT]):
    """Verifies tokens, sessions and cookies of one issuer.

    Every option is explained in the package's README.
    """

    def __init__(
        self,
        *,
        issuer: str | None = None,
        audience: str | Iterable[str] | None = None,
        secret: str | None = None,
        url: str | None = None,
        base_path: str = "/api/auth",
        jwks: Mapping[str, Any] | None = None,
        jwks_url: str | None = None,
        jwks_options: JwksOptions | None = None,
        user_type: type[UserT] | None = None,
        cookies: bool = True,
        cookie_prefix: str = "better-auth",
        cookie_name: str | None = None,
        session_tokens: bool = True,
        session_options: SessionOptions | None = None,
        trusted_origins: Iterable[str] = (),
        revocations: bool | RevocationOptions = False,
        token_types: Iterable[str] = ("JWT",),
        leeway: float = 5,
        longest_lifetime: float | None = None,
        longest_token: int = 8192,
        role_permissions: Mapping[str, Permissions] | None = None,
        activity_fields: Sequence[str] = ("experienceLevel", "professionalRole", "role"),
        observer: Observer | None = None,
        clock: Clock | None = None,
        fetch: Fetch = fetch_by_http,
    ):
        self.clock = clock or Clock()
        self.metrics = Metrics(activity_fields, observer)
        self._follows = True
        self._user_type = user_type
        if user_type is not None:
            check_user_type(user_type)
        self._issuer = _without_slash(issuer)
        path = unix_path(url) if url is not None else None
        if path is not None:
            url = None if self._issuer is not None and self._issuer.startswith("http") else "http://localhost"
            fetch = partial(fetch_by_http, unix=path) if fetch is fetch_by_http else fetch
        self._transport: Fetch = fetch
        self._base = _base(url, self._issuer, base_path)
        self._audience = _audience(audience)
        self._cookies = cookies
        self._session_tokens = session_tokens
        self._trusted = frozenset(_origin(origin) for origin in trusted_origins)
        self._types = frozenset(kind.lower() for kind in token_types)
        if REVOCATIONS_TYPE in self._types:
            raise ConfigurationError("token_types: a list of revocations is no token")
        self._longest = longest_token
        self._role_permissions = permissions_of_roles(role_permissions)
        self._jwks_url = None if jwks_url is None else _checked("jwks_url", jwks_url).geturl()
        self._jwks_options = jwks_options or JwksOptions()
        self._session_options = session_options or SessionOptions()
        self._names = CookieNames(cookie_prefix, self._session_options.cookie_cache, cookie_name)
        self._fixed = _fixed_keys(secret, jwks, jwks_url)
        if secret is None:
            if self._issuer is None:
                raise ConfigurationError("issuer: is required where keys are public (or give a secret)")
            if self._fixed is None and self._jwks_url is None and self._base is None:
                raise ConfigurationError("issuer: is no http:// or https:// URL, so give a url, jwks_url or jwks")
            # As upstream: a token is for whom issued it, unless something else is said.
            self._audience = self._audience or frozenset({self._issuer})
        self._expected = claims.Expected(self._issuer, self._audience, leeway, longest_lifetime)
        self._revocation_options: RevocationOptions | None = None
        if revocations is not False:
            if self._base is None:
                raise ConfigurationError("revocations: need an issuer or a url to ask")
            self._revocation_options = RevocationOptions() if revocations is True else revocations
        self._reset()

    @classmethod
    def from_env(cls, **options: Any) -> Self:
        """Reads `BETTER_AUTH_JWT_SECRET`, `BETTER_AUTH_URL`, `AUTH_SERVICE_URL` and `BETTER_AUTH_TRUSTED_ORIGINS`.

        With a secret tokens are HS256, else keys are fetched. What is passed here goes before the environment.
        """
        secret = os.environ.get("BETTER_AUTH_JWT_SECRET") or None
        public = os.environ.get("BETTER_AUTH_URL") or None
        service = os.environ.get("AUTH_SERVICE_URL") or None
        found: dict[str, Any] = {}
        if secret is not None and not {"jwks", "jwks_url"} & options.keys():
            found["secret"] = secret
        if public is not None:
            # Tokens name the origin, also where the server lives under a path.
            found["issuer"] = _origin(public)
        elif secret is None and service is not None:
            found["issuer"] = _origin(service)
        if service or public:
            found["url"] = service or public
        origins = os.environ.get("BETTER_AUTH_TRUSTED_ORIGINS", "")
        found["trusted_origins"] = [one.strip() for one in origins.split(",") if one.strip() and "*" not in one]
        if secret is None and not found.get("issuer") and not {"issuer", "secret"} & options.keys():
            raise ConfigurationError(
                "set BETTER_AUTH_JWT_SECRET for tokens with a shared secret, "
                "or BETTER_AUTH_URL (or AUTH_SERVICE_URL) for tokens with public keys"
            )
        return cls(**{**found, **options})

    # Checking -----------------------------------------------------------------------------------------------

    def verify(self, token: str) -> UserT:
        """The user of a token; raises `AuthError`."""
        return drive(self._token(token))

    async def verify_async(self, token: str) -> UserT:
        """As `verify`, without blocking the event loop."""
        return await drive_async(self._token(token))

    def authenticate(self, request: Request, requirement: Requirement | None = None) -> UserT:
        """The user of a request; raises `AuthError`."""
        return drive(self._recorded(request, requirement))

    async def authenticate_async(self, request: Request, requirement: Requirement | None = None) -> UserT:
        """As `authenticate`, without blocking the event loop."""
        return await drive_async(self._recorded(request, requirement))

    def enforce(self, user: UserT, requirement: Requirement, request: Request) -> UserT:
        """Refuses a user who lacks something, and records that."""
        try:
            requirement.check(user, self._role_permissions)
        except AuthError as error:
            self._record_failure(request, user.via, error)
            raise
        return user

    def optional(self, request: Request) -> UserT | None:
        """The user, or `None` without a credential, or with a cookie whose session has ended.

        Any other bad credential is refused all the same.
        """
        try:
            return self.authenticate(request)
        except (NotAuthenticated, SessionEnded):
            return None

    async def optional_async(self, request: Request) -> UserT | None:
        """As `optional`, without blocking the event loop."""
        try:
            return await self.authenticate_async(request)
        except (NotAuthenticated, SessionEnded):
            return None

    def _recorded(self, request: Request, requirement: Requirement | None) -> Steps[UserT]:
        kind = ""
        try:
            credential = self._credential(request)
            kind = credential.kind
            if kind == "token":
                user = yield from self._token(credential.value)
            else:
                user = yield from self._session(credential)
            if requirement is not None:
                requirement.check(user, self._role_permissions)
        except AuthError as error:
            self._record_failure(request, kind, error)
            raise
        activity = self.metrics.activity(user)
        self.metrics.record(Event("success", "", kind, request.method, request.endpoint, user.id, activity))
        return user

    def _record_failure(self, request: Request, kind: str, error: AuthError) -> None:
        event = Event("failure", error.reason, kind, request.method, request.endpoint)
        self.metrics.record(event, str(error))

    def _credential(self, request: Request) -> Credential:
        presented = bearer(request)
        cookie = self._names.credential(request.cookies) if self._sessions and self._cookies else None
        if presented is not None and cookie is not None:
            # The same session twice is one credential; anything else could be two users.
            if presented.kind != "session" or not _same(presented.value, self._names.token(cookie)):
                raise AmbiguousCredential("A bearer credential and a session cookie; send one of them")
            cookie = None
        if presented is not None:
            if presented.kind == "session" and not (self._sessions and self._session_tokens):
                raise InvalidCredential("a session token, which is not accepted here")
            return presented
        if cookie is None:
            raise NotAuthenticated
        check_origin(request, self._trusted)
        return cookie

    def _token(self, text: str) -> Steps[UserT]:
        try:
            token = jose.parse(text, self._longest)
            # Other things are signed with the same keys: lists of revocations, cookie caches, access tokens.
            if token.type is not None and token.type.lower() not in self._types:
                raise jose.Malformed("a token of another type")
            key = self._keys.cached(token.key_id)
            if key is None:
                key = yield from self._keys.find(token.key_id)
            payload = token.verified_payload(key)
        except jose.Malformed as problem:
            raise InvalidCredential(str(problem), reason="malformed") from None
        subject = claims.check(payload, self._expected, self.clock.now())
        session_id = payload.get("sid")
        if session_id is not None and not (isinstance(session_id, str) and session_id):
            raise InvalidCredential("the session's id is no text")
        if self._revocations is not None:
            yield from self._revocations.check_token(subject, session_id, claims.time(payload, "iat"))
        return self._user({**payload, "id": subject}, session_id, "token")

    def _session(self, credential: Credential) -> Steps[UserT]:
        if self._sessions is None:
            raise InvalidCredential("nobody to ask for the session")
        try:
            session: Session = yield from self._sessions.find(credential)
            if self._revocations is not None:
                yield from self._revocations.check(session.user["id"], session.id, session.asked)
        except InvalidCredential as error:
            if credential.kind == "cookie":
                raise SessionEnded(str(error), reason=error.reason, detail=error.detail) from None
            raise
        return self._user(session.user, session.id, credential.kind, session.fields)

    def _user(
        self, values: Mapping[str, Any], session_id: str | None, via: str, fields: Mapping[str, Any] | None = None
    ) -> UserT:
        if values.get("banned") and not self._ban_is_over(values.get("banExpires")):
            raise Forbidden("The account is banned", reason="banned")
        user_type = self._user_type or self._declared_type()
        return user_type(values, session_id=session_id, via=via, session_fields=fields)

    def _ban_is_over(self, end: object) -> bool:
        if end is None:
            return False
        try:
            return self.clock.now() >= moment(end)
        except jose.Malformed:
            return False

    def _declared_type(self) -> type[UserT]:
        # `Auth[MyUser](...)` is known only after `__init__`, where typing writes it down.
        declared = get_args(getattr(self, "__orig_class__", None))
        found: Any = declared[0] if declared else User
        check_user_type(found)
        self._user_type = found
        return cast("type[UserT]", found)

    # Life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Fetches the keys and begins to follow revocations, so that the first request need not wait."""
        if self._revocations is not None:
            self._revocations.start(again=True)
        if isinstance(self._keys, RemoteKeys):
            self._keys.prefetch()

    def close(self) -> None:
        """Ends what runs in the background."""
        if self._revocations is not None:
            self._revocations.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self.close()

    @property
    def follows_revocations(self) -> bool:
        """Whether the server's list of revocations is followed."""
        return self._revocations is not None

    def fetch_revocations(self) -> None:
        """Fetches the list of revocations now; raises `Unavailable` if it cannot be had."""
        if self._revocations is not None:
            self._revocations.refresh()

    def status(self) -> dict[str, Any]:
        """What a readiness probe wants to know: whether tokens can be judged, and by what."""
        revocations = self._revocations
        return {
            "ready": self._keys.age() is not None and (revocations is None or not revocations.is_stale()),
            "keys_age": self._keys.age(),
            "revocations": None if revocations is None else revocations.number(),
        }

    @contextmanager
    def asking(self, transport: Fetch, clock: Clock | None = None) -> Iterator[Self]:
        """For tests: asks `transport` instead of the network, with nothing remembered before or after.

        There is no thread that follows revocations, so that nothing happens but what the test does.
        """
        before = (self._transport, self.clock, self._follows)
        self.close()
        self._transport, self.clock, self._follows = transport, clock or self.clock, False
        self._reset()
        try:
            yield self
        finally:
            self.close()
            self._transport, self.clock, self._follows = before
            self._reset()

    def _reset(self) -> None:
        self._sessions: Sessions | None = None
        self._revocations: Revocations | None = None
        if self._fixed is not None:
            self._keys: Keys = self._fixed
        else:
            url = self._jwks_url or f"{self._base}/jwks"
            self._keys = RemoteKeys(url, self._jwks_options, self._transport, self.clock)
        if self._base is not None and (self._cookies or self._session_tokens):
            self._sessions = Sessions(f"{self._base}/get-session", self._session_options, self._transport, self.clock)
        if self._revocation_options is not None:
            self._revocations = Revocations(
                f"{self._base}/revocations",
                self._issuer,
                self._revocation_options,
                keys=self._keys,
                fetch=self._transport,
                clock=self.clock,
                leeway=self._expected.leeway,
                follow=self._follows,
            )


def _fixed_keys(secret: str | None, jwks: Mapping[str, Any] | None, jwks_url: str | None) -> FixedKeys | None:
    if sum(one is not None for one in (secret, jwks, jwks_url)) > 1:
        # A verifier that knows both can be talked into the wrong one.
        raise ConfigurationError("secret, jwks, jwks_url: give one of them")
    if secret is not None:
        try:
            return FixedKeys({}, jose.secret_key(secret))
        except jose.Malformed as problem:
            raise ConfigurationError(f"secret: {problem}") from None
    if jwks is not None:
        try:
            keys, problems = jose.keys_from_set(json.dumps(jwks).encode())
        except jose.Malformed as problem:
            raise ConfigurationError(f"jwks: {problem}") from None
        if problems or not keys:
            raise ConfigurationError("jwks: " + ("; ".join(problems) or "no keys"))
        return FixedKeys(keys)
    return None


def _base(url: str | None, issuer: str | None, base_path: str) -> str | None:
    """Where the server's endpoints are; a path in the URL goes before `base_path`, as upstream has it."""
    if url is None:
        # An issuer is any text; one that is a URL is also where the server is.
        if issuer is None or not issuer.startswith(("http://", "https://")):
            return None
        url = issuer
    parts = _checked("url", url)
    path = parts.path.rstrip("/") or "/" + base_path.strip("/")
    return f"{parts.scheme}://{parts.netloc}{path.rstrip('/')}"


def _checked(name: str, url: str) -> urllib.parse.SplitResult:
    parts = urllib.parse.urlsplit(url)
    if "@" in parts.netloc:
        raise ConfigurationError(f"{name}: must not hold a user or a password")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment:
        raise ConfigurationError(f"{name}: {url!r} must begin with http:// or https:// and a host")
    if name == "url" and parts.query:
        raise ConfigurationError(f"{name}: {url!r} must have no query")
    if parts.scheme == "http" and not _is_near(parts.hostname):
        _log.warning("%s is asked without TLS: whoever is between can sign in as anybody", url)
    return parts


def _is_near(host: str) -> bool:
    # Names without a dot are containers beside this one.
    return "." not in host.removesuffix(".localhost") or host.startswith("127.")


def _origin(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    if not parts.scheme or not parts.netloc or "*" in url or "@" in parts.netloc:
        raise ConfigurationError(f"{url.rpartition('@')[2]!r}: must be an origin such as https://example.com")
    # Browsers leave out the port that goes without saying.
    port = {"http": ":80", "https": ":443"}.get(parts.scheme, "")
    return f"{parts.scheme}://{parts.netloc.removesuffix(port)}".lower()


def _without_slash(url: str | None) -> str | None:
    return None if url is None else url.rstrip("/")


def _audience(audience: str | Iterable[str] | None) -> frozenset[str] | None:
    if audience is None:
        return None
    values = frozenset([audience] if isinstance(audience, str) else audience)
    if not values or "" in values:
        # An empty list would look like a check and be none.
        raise ConfigurationError("audience: must name somebody")
    return values


def _same(presented: str, cookie: str) -> bool:
    """Whether a bearer's session token, signed or not, is the cookie's."""
    token = urllib.parse.unquote(presented)
    return hmac.compare_digest(token.encode(), (cookie if "." in token else cookie.split(".")[0]).encode())
