"""A small, strict reader of compact JWS: the algorithms of the server and nothing else.

A token is refused unless there is exactly one way to read it: base64url without padding and without stray bits,
JSON without duplicate members, NaN or infinities, no `crit`, no `b64`. The algorithm is the key's; the header may
only agree with it.
"""

from __future__ import annotations

import binascii
import functools
import hmac
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

LONGEST_KEY_ID = 256
SHORTEST_SECRET = 32
# As many as the server publishes: with short rotations and a long grace period they add up.
MOST_KEYS = 100
RSA_BITS = range(2048, 8193)

# Members that make public material private (RFC 7518, 6.2.2, 6.3.2, 6.4.1).
PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})
# Header members that change what the signature covers or what the payload is.
REFUSED_MEMBERS = frozenset({"crit", "b64", "zip", "enc"})


class Malformed(ValueError):
    """Something is not written as it must be. The text never repeats the token."""


_TO_STANDARD, _TO_URL = bytes.maketrans(b"-_", b"+/"), bytes.maketrans(b"+/", b"-_")


def decode_base64url(text: str | bytes) -> bytes:
    """Reads the one canonical spelling of some bytes."""
    data = text.encode() if isinstance(text, str) else text
    try:
        raw = binascii.a2b_base64(data.translate(_TO_STANDARD) + b"=" * (-len(data) % 4))
    except ValueError:
        raise Malformed("not base64url") from None
    # Python skips what is not in the alphabet and drops stray bits; what was read must be what was written.
    if encode_base64url(raw) != data:
        raise Malformed("not canonical base64url")
    return raw


def encode_base64url(raw: bytes) -> bytes:
    """Base64url without padding."""
    return binascii.b2a_base64(raw, newline=False).translate(_TO_URL).rstrip(b"=")


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Malformed("a member occurs twice")
    return members


def _no_constant(_name: str) -> Any:
    raise Malformed("NaN and infinities are no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise Malformed("a number is too large")
    return number


_decoder = json.JSONDecoder(object_pairs_hook=_members, parse_constant=_no_constant, parse_float=_finite)


def parse_object(raw: bytes) -> dict[str, Any]:
    """Reads a JSON object that means the same to every reader."""
    try:
        value = _decoder.decode(raw.decode())
    except Malformed:
        raise
    except (ValueError, RecursionError):
        # The error of the json module repeats the document.
        raise Malformed("not JSON") from None
    if not isinstance(value, dict):
        raise Malformed("not a JSON object")
    return value


@dataclass(frozen=True, slots=True)
class Key:
    """A key that verifies, with the only algorithm it verifies for."""

    id: str | None
    algorithm: str
    verify: Callable[[bytes, bytes], bool] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Token:
    """A compact JWS that is well formed. Nothing in it may be believed before `verified_payload`."""

    algorithm: str
    key_id: str | None
    type: str | None
    _signed: bytes = field(repr=False)
    _payload: bytes = field(repr=False)
    _signature: bytes = field(repr=False)

    def verified_payload(self, key: Key) -> dict[str, Any]:
        """The payload, if `key` signed it with its own algorithm."""
        if self.algorithm != key.algorithm:
            raise Malformed(f"the algorithm is not the key's, {key.algorithm}")
        if not key.verify(self._signature, self._signed):
            raise Malformed("the signature is wrong")
        return parse_object(decode_base64url(self._payload))


def parse(text: str, longest: int) -> Token:
    """Splits a compact JWS and reads its header."""
    if len(text) > longest:
        raise Malformed(f"longer than {longest} bytes")
    try:
        data = text.encode("ascii")
    except UnicodeEncodeError:
        raise Malformed("not ASCII") from None
    parts = data.split(b".")
    if len(parts) == 5:
        raise Malformed("encrypted, which is not accepted")
    if len(parts) != 3 or not all(parts):
        raise Malformed("not three parts")
    algorithm, key_id, kind = _header(parts[0])
    return Token(algorithm, key_id, kind, parts[0] + b"." + parts[1], parts[1], decode_base64url(parts[2]))


# All tokens of a key have the same header; what is remembered has no more meaning than what is read anew.
@functools.lru_cache(maxsize=64)
def _header(part: bytes) -> tuple[str, str | None, str | None]:
    header = parse_object(decode_base64url(part))
    if not REFUSED_MEMBERS.isdisjoint(header):
        raise Malformed("the header has a member that is not accepted")
    algorithm, key_id, kind = header.get("alg"), header.get("kid"), header.get("typ")
    if not isinstance(algorithm, str):
        raise Malformed("no algorithm")
    if key_id is not None and not (isinstance(key_id, str) and 0 < len(key_id) <= LONGEST_KEY_ID):
        raise Malformed("the key's id is not a short text")
    if kind is not None and not isinstance(kind, str):
        raise Malformed("the type is not a text")
    return algorithm, key_id, kind


def secret_key(secret: str) -> Key:
    """The key of a shared secret: HS256."""
    raw = secret.encode()
    if len(raw) < SHORTEST_SECRET:
        raise Malformed(f"a shared secret needs at least {SHORTEST_SECRET} characters")
    if "-----BEGIN" in secret or secret.startswith(("ssh-", "{")):
        # Verifying HMACs with a public key would let everyone who has it sign.
        raise Malformed("this is a key and no shared secret")

    def verify(signature: bytes, signed: bytes) -> bool:
        return hmac.compare_digest(signature, hmac.digest(raw, signed, "sha256"))

    return Key(None, "HS256", verify)


def key_from_jwk(jwk: object) -> Key:
    """The key of a JWK; `Malformed` says why it is not used."""
    if not isinstance(jwk, dict):
        raise Malformed("not an object")
    if not PRIVATE_MEMBERS.isdisjoint(jwk):
        raise Malformed("it holds private or symmetric material")
    key_id = jwk.get("kid")
    if not (isinstance(key_id, str) and 0 < len(key_id) <= LONGEST_KEY_ID):
        raise Malformed("it has no id")
    if jwk.get("use", "sig") != "sig":
        raise Malformed("it is not for signatures")
    operations = jwk.get("key_ops")
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        raise Malformed("it is not for verifying")
    schemes = _schemes(jwk)
    algorithm = jwk.get("alg", next(iter(schemes)))
    if not isinstance(algorithm, str) or algorithm not in schemes:
        raise Malformed("its algorithm does not fit its type")
    return Key(key_id, algorithm, _verifier(schemes[algorithm]))


# Checks a signature; raises `InvalidSignature`.
_Scheme = Callable[[bytes, bytes], None]


def _schemes(jwk: dict[str, Any]) -> dict[str, _Scheme]:
    """How a key of this type may sign; the first is meant where the key does not say."""
    kind = (jwk.get("kty"), jwk.get("crv"))
    try:
        if kind == ("OKP", "Ed25519"):
            verify = ed25519.Ed25519PublicKey.from_public_bytes(_member(jwk, "x")).verify
            # RFC 9864 calls it by the curve's name.
            return {"EdDSA": verify, "Ed25519": verify}
        if kind == ("EC", "P-256"):
            return {"ES256": _ecdsa(jwk, ec.SECP256R1(), hashes.SHA256())}
        if kind == ("EC", "P-521"):
            return {"ES512": _ecdsa(jwk, ec.SECP521R1(), hashes.SHA512())}
        if kind == ("RSA", None):
            key = _rsa(jwk)
            return {"RS256": _rs256(key), "PS256": _ps256(key)}
    except Malformed:
        raise
    except ValueError as error:
        raise Malformed(f"it is no key: {error}") from None
    raise Malformed("its type is not supported")


def _member(jwk: dict[str, Any], name: str) -> bytes:
    value = jwk.get(name)
    if not isinstance(value, str):
        raise Malformed(f"it has no {name}")
    return decode_base64url(value)


def _verifier(scheme: _Scheme) -> Callable[[bytes, bytes], bool]:
    def verify(signature: bytes, signed: bytes) -> bool:
        try:
            scheme(signature, signed)
        except InvalidSignature:
            return False
        return True

    return verify


def _ecdsa(jwk: dict[str, Any], curve: ec.EllipticCurve, digest: hashes.HashAlgorithm) -> _Scheme:
    size = (curve.key_size + 7) // 8
    x, y = _member(jwk, "x"), _member(jwk, "y")
    if (len(x), len(y)) != (size, size):
        raise Malformed("its point is not of the curve's size")
    key = ec.EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), curve).public_key()
    scheme = ec.ECDSA(digest)

    def verify(signature: bytes, signed: bytes) -> None:
        if len(signature) != 2 * size:
            raise InvalidSignature
        r, s = int.from_bytes(signature[:size]), int.from_bytes(signature[size:])
        key.verify(encode_dss_signature(r, s), signed, scheme)

    return verify


def _rsa(jwk: dict[str, Any]) -> rsa.RSAPublicKey:
    modulus, exponent = int.from_bytes(_member(jwk, "n")), int.from_bytes(_member(jwk, "e"))
    if modulus.bit_length() not in RSA_BITS:
        raise Malformed(f"its modulus has not {RSA_BITS.start} to {RSA_BITS.stop - 1} bits")
    if exponent < 65537 or exponent.bit_length() > 32:
        raise Malformed("its exponent is unusual")
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


def _rs256(key: rsa.RSAPublicKey) -> _Scheme:
    scheme, digest = padding.PKCS1v15(), hashes.SHA256()
    return lambda signature, signed: key.verify(signature, signed, scheme, digest)


def _ps256(key: rsa.RSAPublicKey) -> _Scheme:
    # RFC 7518, 3.5: the salt is as long as the hash, and the mask is made with the same hash.
    digest = hashes.SHA256()
    scheme = padding.PSS(padding.MGF1(digest), digest.digest_size)
    return lambda signature, signed: key.verify(signature, signed, scheme, digest)


def keys_from_set(document: bytes) -> tuple[dict[str, Key], list[str]]:
    """The usable keys of a JWK set by id, and why the others are not used."""
    entries = parse_object(document).get("keys")
    if not isinstance(entries, list):
        raise Malformed("no list of keys")
    if len(entries) > MOST_KEYS:
        raise Malformed(f"more than {MOST_KEYS} keys")
    ids = [entry.get("kid") for entry in entries if isinstance(entry, dict)]
    keys: dict[str, Key] = {}
    problems = []
    for number, entry in enumerate(entries):
        try:
            key = key_from_jwk(entry)
            # Which of two was meant is not for a verifier to guess.
            if ids.count(key.id) > 1:
                raise Malformed("its id occurs twice")
        except Malformed as problem:
            problems.append(f"key {number} is not used: {problem}")
        else:
            keys[str(key.id)] = key
    return keys, problems
