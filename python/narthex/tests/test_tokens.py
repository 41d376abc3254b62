"""What is a token and what is not; each attack on the verifier is a test."""

from __future__ import annotations

import base64
import hmac
import json
import logging
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from narthex import Authenticator, ConfigurationError, InvalidCredential
from narthex.jose import Malformed, parse, parse_object
from narthex.testing import FakeClock
from support import ISSUER, SECRET, Signer, b64, compact, hs256, pss

CLOCK = FakeClock()
NOW = int(CLOCK.now())


def claims(**changes: Any) -> dict[str, Any]:
    good = {"sub": "user-1", "iat": NOW, "exp": NOW + 900, "iss": ISSUER, "aud": ISSUER}
    return {name: value for name, value in {**good, **changes}.items() if value is not ...}


def verifier(*signers: Signer, **options: Any) -> Authenticator:
    keys = {"keys": [signer.jwk for signer in signers]}
    return Authenticator(issuer=ISSUER, jwks=keys, clock=CLOCK, **options)


def with_secret(**options: Any) -> Authenticator:
    return Authenticator(secret=SECRET, clock=CLOCK, **options)


def refused(auth: Authenticator, token: str) -> str:
    with pytest.raises(InvalidCredential) as caught:
        auth.verify(token)
    assert caught.value.status == 401
    assert token not in str(caught.value)
    return str(caught.value)


def test_each_algorithm_verifies_with_its_own_key(signers: list[Signer]) -> None:
    auth = verifier(*signers)
    for signer in signers:
        assert auth.verify(signer.token(claims())).id == "user-1"
    assert with_secret().verify(hs256(claims())).id == "user-1"


def test_a_changed_byte_is_refused_with_every_algorithm(signers: list[Signer]) -> None:
    auth = verifier(*signers)
    tokens = [(auth, signer.token(claims())) for signer in signers]
    for checker, token in [*tokens, (with_secret(), hs256(claims()))]:
        head, payload, signature = token.split(".")
        other = b64(json.dumps(claims(sub="admin")).encode())
        assert refused(checker, f"{head}.{other}.{signature}") == "the signature is wrong"
        raw = bytearray(base64.urlsafe_b64decode(signature + "=="))
        raw[5] ^= 1
        assert refused(checker, f"{head}.{payload}.{b64(bytes(raw))}") == "the signature is wrong"
        for wrong in (raw[:-1], raw + b"\0", b"\0" + raw, bytes(len(raw)), b"\xff" * len(raw), b"\0"):
            assert refused(checker, f"{head}.{payload}.{b64(bytes(wrong))}") == "the signature is wrong"


def test_alg_none_is_refused(eddsa: Signer) -> None:
    for name in ("none", "None", "NONE", "nOnE", ""):
        for signature in ("", "AA"):
            head = b64(json.dumps({"alg": name, "kid": "ed"}).encode())
            token = f"{head}.{b64(json.dumps(claims()).encode())}.{signature}"
            refused(verifier(eddsa), token)
            refused(with_secret(), token)


def test_hs256_with_the_public_key_as_the_secret_is_refused(signers: list[Signer]) -> None:
    auth = verifier(*signers)
    for signer in signers:
        formats = serialization.PublicFormat.SubjectPublicKeyInfo
        pem = signer.public.public_bytes(serialization.Encoding.PEM, formats)
        der = signer.public.public_bytes(serialization.Encoding.DER, formats)
        material = signer.jwk.get("x") or signer.jwk["n"]
        for secret in (pem, pem.strip(), der, json.dumps(signer.jwk).encode(), material.encode()):
            for name in ("HS256", "HS384", "HS512"):
                assert "algorithm" in refused(auth, hs256(claims(), secret, kid=signer.id, alg=name))
            sign = lambda data, secret=secret: hmac.digest(secret, data, "sha256")  # noqa: E731
            token = compact({"alg": signer.algorithm, "kid": signer.id}, claims(), sign)
            assert refused(auth, token) == "the signature is wrong"
        for text in (pem.decode(), json.dumps(signer.jwk)):
            with pytest.raises(ConfigurationError, match="no shared secret"):
                Authenticator(secret=text)


def test_a_key_of_another_algorithm_is_refused(signers: list[Signer]) -> None:
    auth = verifier(*signers)
    for signer in signers:
        for other in signers:
            if signer is other:
                continue
            # The header says how it is signed, and names a key that signs otherwise.
            assert "algorithm" in refused(auth, signer.token(claims(), kid=other.id))
            assert "algorithm" in refused(auth, signer.token(claims(), alg=other.algorithm))
            # The header says what the key does, and it is not how the token is signed.
            token = signer.token(claims(), kid=other.id, alg=other.algorithm)
            assert refused(auth, token) == "the signature is wrong"
        for name in ("HS256", "HS512", "RS512", "PS512", "ES384", "ES256K", "Ed448", "eddsa"):
            assert "algorithm" in refused(auth, signer.token(claims(), alg=name))
        assert "algorithm" in refused(with_secret(), signer.token(claims()))


def test_one_rsa_key_signs_in_one_way_only(rs256: Signer, ps256: Signer) -> None:
    for signer, other in ((rs256, "PS256"), (ps256, "RS256")):
        auth = verifier(signer)
        scheme = pss() if other == "PS256" else padding.PKCS1v15()
        sign = lambda data, key=signer.rsa, scheme=scheme: key.sign(data, scheme, hashes.SHA256())  # noqa: E731
        assert "algorithm" in refused(auth, compact({"alg": other, "kid": signer.id}, claims(), sign))
        header = {"alg": signer.algorithm, "kid": signer.id}
        assert refused(auth, compact(header, claims(), sign)) == "the signature is wrong"


def test_ps256_has_a_salt_and_a_mask_of_its_hash(ps256: Signer) -> None:
    auth, header = verifier(ps256), {"alg": "PS256", "kid": ps256.id}
    for scheme, expected in (
        (pss(32), True),
        (pss(0), False),
        (pss(20), False),
        (pss(31), False),
        (pss(64), False),
        (padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.MAX_LENGTH), False),
        (pss(32, hashes.SHA512()), False),
    ):
        sign = lambda data, scheme=scheme: ps256.rsa.sign(data, scheme, hashes.SHA256())  # noqa: E731
        token = compact(header, claims(), sign)
        if expected:
            assert auth.verify(token).id == "user-1"
        else:
            assert refused(auth, token) == "the signature is wrong"


def test_signatures_of_curves_are_raw_and_of_the_curves_size(es256: Signer, es512: Signer) -> None:
    for signer, size, digest, other in (
        (es256, 32, hashes.SHA256(), hashes.SHA512()),
        (es512, 66, hashes.SHA512(), hashes.SHA256()),
    ):
        auth, header = verifier(signer), {"alg": signer.algorithm, "kid": signer.id}

        def der(data: bytes, curve: Any = signer.curve, digest: Any = digest) -> bytes:
            signature: bytes = curve.sign(data, ec.ECDSA(digest))
            return signature

        def of_another_hash(data: bytes, curve: Any = signer.curve, size: int = size, other: Any = other) -> bytes:
            r, s = decode_dss_signature(curve.sign(data, ec.ECDSA(other)))
            return r.to_bytes(size) + s.to_bytes(size)

        def with_a_zero_between(data: bytes, sign: Callable[[bytes], bytes] = signer.sign, size: int = size) -> bytes:
            raw = sign(data)
            return raw[:size] + b"\0" + raw[size:]

        # Each of these is what a verifier that forgets to look would take for a signature of anything.
        constants = [r.to_bytes(size) + s.to_bytes(size) for r in (0, 1) for s in (0, 1)]
        signs: list[Callable[[bytes], bytes]] = [der, of_another_hash, with_a_zero_between]
        for raw in constants:
            signs.append(lambda _data, raw=raw: raw)  # type: ignore[misc]
        for sign in signs:
            assert refused(auth, compact(header, claims(), sign)) == "the signature is wrong"


def test_a_token_brings_no_key_of_its_own(eddsa: Signer) -> None:
    own = Signer("EdDSA", "own")
    for header in ({"jwk": own.jwk}, {"jku": "https://evil.test/jwks"}, {"x5u": "https://evil.test/x"}):
        assert refused(verifier(eddsa), own.token(claims(), **header)) == "no key of that id"
        assert refused(verifier(eddsa), own.token(claims(), kid="ed", **header)) == "the signature is wrong"


def test_a_token_without_a_key_id_is_refused_where_keys_have_ids(eddsa: Signer) -> None:
    assert refused(verifier(eddsa), compact({"alg": "EdDSA"}, claims(), eddsa.sign)) == "no key of that id"
    for key_id in ("", "x" * 257, 1, ["ed"], {"a": 1}):
        assert "id" in refused(verifier(eddsa), eddsa.token(claims(), kid=key_id))


def test_exp_and_sub_are_required(eddsa: Signer) -> None:
    for auth, sign in ((verifier(eddsa), eddsa.token), (with_secret(), hs256)):
        assert refused(auth, sign(claims(exp=...))) == "no exp"
        for subject in (..., None, "", 7, ["user-1"], "x" * 256, "a\nb", "\ud800", "a\x00"):
            assert refused(auth, sign(claims(sub=subject))) == "no subject"


def test_an_expired_token_is_refused_from_its_last_second_on() -> None:
    clock = FakeClock()
    auth = Authenticator(secret=SECRET, clock=clock)
    token = hs256(claims(exp=clock.now() + 10))
    assert auth.verify(token).id == "user-1"
    clock.advance(9.5)
    assert auth.verify(token).id == "user-1"
    clock.advance(0.5)
    with pytest.raises(InvalidCredential) as caught:
        auth.verify(token)
    assert (caught.value.reason, caught.value.detail) == ("expired", "The token has expired")


@pytest.mark.parametrize("name", ["nbf", "iat"])
def test_a_token_of_the_future_is_refused_beyond_the_leeway(name: str) -> None:
    assert with_secret().verify(hs256(claims(**{name: NOW + 5}))).id == "user-1"
    with pytest.raises(InvalidCredential) as caught:
        with_secret().verify(hs256(claims(**{name: NOW + 6})))
    assert caught.value.reason == "not_yet_valid"
    assert with_secret(leeway=60).verify(hs256(claims(**{name: NOW + 60}))).id == "user-1"


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize(
    "value",
    [
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "1e300",
        "99999999999999999999",
        '"1800000900"',
        "true",
        "null",
        "[1]",
        "-1",
    ],
)
def test_a_time_that_is_no_sensible_number_is_refused(name: str, value: str) -> None:
    text = json.dumps(claims(**{name: "here"})).replace('"here"', value)
    refused(with_secret(), hs256(text))


def test_a_number_with_thousands_of_digits_is_refused() -> None:
    text = json.dumps(claims(exp="here")).replace('"here"', "9" * 5000)
    assert refused(with_secret(longest_token=20000), hs256(text)) == "not JSON"


def test_issuer_and_audience_are_required_with_public_keys(eddsa: Signer) -> None:
    auth = verifier(eddsa, audience=["https://api.test", "https://other.test"])
    assert auth.verify(eddsa.token(claims(aud="https://api.test"))).id == "user-1"
    assert auth.verify(eddsa.token(claims(aud=["x", "https://other.test"]))).id == "user-1"
    for audience in (..., None, ISSUER, [], ["x"], "", {"https://api.test": 1}, ["https://api.test", 1], 5):
        assert "audience" in refused(auth, eddsa.token(claims(aud=audience)))
    for issuer in (..., None, "", "https://evil.test", ISSUER + "/", [ISSUER]):
        assert refused(auth, eddsa.token(claims(aud="https://api.test", iss=issuer))) == "another issuer"
    # Without an audience it is the issuer, as the server issues them.
    assert "audience" in refused(verifier(eddsa), eddsa.token(claims(aud="https://api.test")))


def test_with_a_secret_issuer_and_audience_are_checked_where_they_are_given() -> None:
    bare = hs256({"sub": "user-1", "exp": NOW + 1})
    assert with_secret().verify(bare).id == "user-1"
    assert refused(with_secret(issuer=ISSUER), bare) == "another issuer"
    assert refused(with_secret(audience="api"), bare) == "no audience"
    assert refused(with_secret(audience="api"), hs256(claims())) == "another audience"
    assert with_secret(issuer=ISSUER, audience=ISSUER).verify(hs256(claims())).id == "user-1"


def test_an_issuer_need_be_no_url_where_nobody_is_asked(eddsa: Signer) -> None:
    assert with_secret(issuer="my-issuer").verify(hs256(claims(iss="my-issuer"))).id == "user-1"
    auth = Authenticator(issuer="my-issuer", jwks={"keys": [eddsa.jwk]}, clock=CLOCK)
    assert auth.verify(eddsa.token(claims(iss="my-issuer", aud="my-issuer"))).id == "user-1"


def test_a_token_of_a_megabyte_is_refused_before_it_is_read(eddsa: Signer) -> None:
    assert refused(verifier(eddsa), eddsa.token(claims(name="x" * 1_000_000))) == "longer than 8192 bytes"
    assert refused(verifier(eddsa), "a" * 1_000_000) == "longer than 8192 bytes"
    assert refused(verifier(eddsa), "." * 8192) == "not three parts"


def test_a_compressed_jwe_is_refused_without_opening_it(eddsa: Signer) -> None:
    bomb = zlib.compress(b"x" * 5_000_000, 9)[:5000]
    header = b64(json.dumps({"alg": "dir", "enc": "A256GCM", "zip": "DEF"}).encode())
    for auth in (verifier(eddsa), with_secret()):
        assert (
            refused(auth, f"{header}..{b64(bytes(12))}.{b64(bomb)}.{b64(bytes(16))}")
            == "encrypted, which is not accepted"
        )
    assert "header" in refused(with_secret(), hs256(claims(), zip="DEF"))


def test_a_member_that_occurs_twice_is_refused() -> None:
    payload = json.dumps(claims())
    assert "twice" in refused(with_secret(), hs256(payload[:-1] + ', "sub": "admin"}'))
    assert "twice" in refused(with_secret(), hs256(payload[:-1] + ', "s\\u0075b": "admin"}'))
    assert "twice" in refused(with_secret(), hs256(payload[:-1] + ', "deep": {"a": 1, "a": 2}}'))
    sign = lambda data: hmac.digest(SECRET.encode(), data, "sha256")  # noqa: E731
    assert "twice" in refused(with_secret(), compact('{"alg":"none","alg":"HS256"}', claims(), sign))


def test_critical_and_unencoded_headers_are_refused() -> None:
    headers: list[dict[str, Any]] = [{"crit": ["exp"]}, {"crit": []}, {"b64": False}, {"b64": True}]
    for header in [*headers, {"crit": ["b64"], "b64": False}]:
        assert "header" in refused(with_secret(), hs256(claims(), **header))


def test_a_token_of_another_type_is_refused(eddsa: Signer) -> None:
    auth = verifier(eddsa)
    for kind in ("JWT", "jwt"):
        assert auth.verify(eddsa.token(claims(), typ=kind)).id == "user-1"
    for other in ("revocations+jwt", "Revocations+JWT", "better-auth.session-cache+jwt", "at+jwt", "logout+jwt", ""):
        assert refused(auth, eddsa.token(claims(), typ=other)) == "a token of another type"
    assert "type" in refused(auth, eddsa.token(claims(), typ=5))
    assert verifier(eddsa, token_types=["at+jwt"]).verify(eddsa.token(claims(), typ="at+jwt")).id == "user-1"
    with pytest.raises(ConfigurationError, match="token_types"):
        verifier(eddsa, token_types=["Revocations+jwt"])


def test_base64_has_one_spelling() -> None:
    auth = with_secret()
    head, payload, signature = hs256(claims()).split(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    stray = signature[:-1] + alphabet[alphabet.index(signature[-1]) + 1]
    spellings = [
        stray,
        signature + "=",
        signature + "==",
        " " + signature,
        signature + "\n",
        signature[:9] + "!" + signature[9:],
    ]
    for spelling in spellings:
        assert "base64url" in refused(auth, f"{head}.{payload}.{spelling}")
    for part in ("a", head + "=", head[:4] + "+" + head[4:], head[:4] + "/" + head[4:], head[:4] + "\n" + head[4:]):
        assert "base64url" in refused(auth, f"{part}.{payload}.{signature}")
    assert refused(auth, f"é{head}.{payload}.{signature}") == "not ASCII"


def test_what_is_no_json_object_is_refused() -> None:
    for payload in ("[]", '"x"', "1", "null", "", "{", '{"a":1}x', "\ufeff{}", "{'a':1}", "[" * 3000):
        refused(with_secret(), hs256(payload))
    for header in ("[]", "null", "{}", '{"alg":["HS256"]}', '{"alg":null}'):
        refused(with_secret(), compact(header, claims(), lambda data: hmac.digest(SECRET.encode(), data, "sha256")))
    with pytest.raises(Malformed):
        parse_object(b'{"a":"\xff"}')


def test_a_token_that_is_valid_for_too_long_is_refused_where_a_limit_is_set() -> None:
    auth = with_secret(longest_lifetime=900)
    assert auth.verify(hs256(claims())).id == "user-1"
    assert "longer" in refused(auth, hs256(claims(exp=NOW + 901)))
    assert "longer" in refused(auth, hs256(claims(iat=...)))


def test_the_id_is_the_subject_whatever_else_the_token_says() -> None:
    user = with_secret().verify(hs256(claims(id="admin", email="a@example.com")))
    assert (user.id, user["id"], user["sub"]) == ("user-1", "user-1", "user-1")


def test_a_session_id_that_is_no_text_is_refused() -> None:
    assert with_secret().verify(hs256(claims(sid="s1"))).session_id == "s1"
    for sid in (7, "", ["s1"]):
        assert "session" in refused(with_secret(), hs256(claims(sid=sid)))


@given(st.text(alphabet="eyJhbGciOiJIUzI1NiJ9.-_=abc", max_size=200) | st.text(max_size=100))
def test_no_text_does_anything_but_parse_or_be_refused(text: str) -> None:
    try:
        token = parse(text, 8192)
    except Malformed as problem:
        assert str(problem)
    else:
        assert token.algorithm


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_no_value_of_a_claim_does_anything_but_be_refused(value: Any) -> None:
    for name in ("exp", "sub", "iss", "aud", "iat", "nbf", "sid"):
        token = hs256(claims(**{name: value}))
        try:
            with_secret(issuer=ISSUER, audience=ISSUER).verify(token)
        except InvalidCredential as error:
            assert error.status == 401


# Keys -------------------------------------------------------------------------------------------------------


def problems(*jwks: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        Authenticator(issuer=ISSUER, jwks={"keys": list(jwks)})
    return str(caught.value)


def test_private_and_symmetric_keys_are_not_used(eddsa: Signer) -> None:
    members: list[dict[str, Any]] = [{"d": "AA"}, {"k": "AA"}, {"p": "AA"}, {"oth": []}]
    for private in members:
        assert "private or symmetric" in problems({**eddsa.jwk, **private})
    assert "private or symmetric" in problems({"kty": "oct", "k": b64(SECRET.encode()), "kid": "x", "alg": "HS256"})


def test_weak_and_odd_rsa_keys_are_not_used(rs256: Signer) -> None:
    for algorithm in ("RS256", "PS256"):
        assert "2048" in problems(Signer(algorithm, "small", bits=1024).jwk)
    assert "2048" in problems({**rs256.jwk, "n": number_of_bits(8200)})
    for exponent in ("AQ", "Aw", b64(b"\x01" + bytes(8) + b"\x01")):
        assert "exponent" in problems({**rs256.jwk, "e": exponent})


def number_of_bits(bits: int) -> str:
    return b64(((1 << (bits - 1)) | 1).to_bytes((bits + 7) // 8))


def test_of_two_keys_with_one_id_neither_is_used(eddsa: Signer, es256: Signer) -> None:
    assert problems(eddsa.jwk, {**es256.jwk, "kid": "ed"}).count("occurs twice") == 2
    assert problems(eddsa.jwk, eddsa.jwk).count("occurs twice") == 2


def test_keys_that_do_not_fit_are_not_used(eddsa: Signer, es256: Signer, es512: Signer, ps256: Signer) -> None:
    wrong: list[object] = [
        "text",
        {**eddsa.jwk, "kid": ""},
        {**eddsa.jwk, "kid": 5},
        {**eddsa.jwk, "use": "enc"},
        {**eddsa.jwk, "key_ops": ["sign"]},
        {**eddsa.jwk, "key_ops": "verify"},
        {**eddsa.jwk, "alg": "HS256"},
        {**eddsa.jwk, "alg": None},
        {**eddsa.jwk, "alg": ["EdDSA"]},
        {**eddsa.jwk, "crv": "X25519"},
        {**eddsa.jwk, "x": "AA"},
        {**eddsa.jwk, "x": None},
        {**es256.jwk, "y": es256.jwk["x"]},
        {**es256.jwk, "x": "AA"},
        {**es256.jwk, "crv": "P-521"},
        {**es256.jwk, "alg": "ES512"},
        {**es512.jwk, "crv": "P-256"},
        {**es512.jwk, "alg": "ES256"},
        {**es512.jwk, "y": es512.jwk["x"]},
        # A coordinate has one length.
        {**es512.jwk, "x": b64(b"\0" + base64.urlsafe_b64decode(es512.jwk["x"]))},
        {**es256.jwk, "y": b64(b"\0" + base64.urlsafe_b64decode(es256.jwk["y"] + "="))},
        {**es512.jwk, "x": b64(b"\xff" * 66)},
        {**es512.jwk, "crv": "P-384"},
        {**ps256.jwk, "alg": "PS384"},
        {**ps256.jwk, "alg": "RSA-OAEP"},
        {"kid": "x"},
    ]
    for jwk in wrong:
        assert problems(jwk).startswith("jwks: key 0 is not used: ")
    assert "no list" in problems() or "no keys" in problems()
    assert "more than 100" in problems(*[{**eddsa.jwk, "kid": str(number)} for number in range(101)])


def test_keys_may_leave_out_their_algorithm_or_name_the_curve(eddsa: Signer, ps256: Signer) -> None:
    # An RSA key that does not say is for RS256.
    silent = {name: value for name, value in ps256.jwk.items() if name != "alg"}
    auth = Authenticator(issuer=ISSUER, jwks={"keys": [silent]}, clock=CLOCK)
    assert "algorithm" in refused(auth, ps256.token(claims()))
    bare = {name: value for name, value in eddsa.jwk.items() if name != "alg"}
    auth = Authenticator(issuer=ISSUER, jwks={"keys": [bare]}, clock=CLOCK)
    assert auth.verify(eddsa.token(claims())).id == "user-1"
    auth = Authenticator(issuer=ISSUER, jwks={"keys": [{**eddsa.jwk, "alg": "Ed25519"}]}, clock=CLOCK)
    assert auth.verify(eddsa.token(claims(), alg="Ed25519")).id == "user-1"
    assert "algorithm" in refused(auth, eddsa.token(claims()))


def test_secret_and_public_keys_are_never_both(eddsa: Signer) -> None:
    keys = {"keys": [eddsa.jwk]}
    both: list[dict[str, Any]] = [{"jwks": keys}, {"jwks_url": "https://auth.test/jwks"}]
    for options in both:
        with pytest.raises(ConfigurationError, match="give one of them"):
            Authenticator(issuer=ISSUER, secret=SECRET, **options)


def test_mistakes_in_the_options_are_told_at_once(eddsa: Signer) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({}, "issuer"),
        ({"jwks": {"keys": [eddsa.jwk]}}, "issuer"),
        ({"secret": "short"}, "at least 32"),
        ({"secret": SECRET, "audience": []}, "audience"),
        ({"secret": SECRET, "audience": ""}, "audience"),
        ({"issuer": "auth.test"}, "http"),
        ({"issuer": "ftp://auth.test"}, "http"),
        ({"issuer": ISSUER, "url": "ftp://auth.test"}, "http"),
        ({"issuer": ISSUER, "url": "https://auth.test?x=1"}, "query"),
        ({"issuer": ISSUER, "url": "https://user:hunter2@auth.test"}, "must not hold a user"),
        ({"issuer": ISSUER, "jwks_url": "jwks.json"}, "jwks_url"),
        ({"issuer": ISSUER, "trusted_origins": ["https://user:hunter2@app.test"]}, "origin"),
        ({"issuer": ISSUER, "trusted_origins": ["example.com"]}, "origin"),
        ({"issuer": ISSUER, "trusted_origins": ["https://*.example.com"]}, "origin"),
        ({"secret": SECRET, "revocations": True}, "revocations"),
        ({"issuer": ISSUER, "jwks": {"keys": 1}}, "jwks"),
    ]
    for options, text in wrong:
        with pytest.raises(ConfigurationError, match=text) as caught:
            Authenticator(**options)
        assert "hunter2" not in str(caught.value)


def test_neither_secrets_nor_tokens_are_shown(eddsa: Signer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    auth = with_secret()
    token = hs256(claims(email="a@example.com"))
    shown = repr(auth.verify(token)) + repr(auth) + repr(vars(auth)) + repr(parse(token, 8192)) + caplog.text
    for secret in (SECRET, token, token.split(".")[2], "a@example.com"):
        assert secret not in shown
