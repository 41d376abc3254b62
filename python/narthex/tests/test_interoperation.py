"""Tokens of others, the vectors of the RFCs, and why the parser is our own."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from narthex import Authenticator, InvalidCredential
from narthex.jose import Malformed, key_from_jwk, parse
from support import ISSUER, SECRET, b64, hs256, number


def test_tokens_of_pyjwt_verify_with_each_algorithm() -> None:
    now = int(time.time())
    claims = {"sub": "user-1", "iat": now, "exp": now + 60, "iss": ISSUER, "aud": [ISSUER, "other"]}
    ed = ed25519.Ed25519PrivateKey.generate()
    small, wide = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP521R1())
    big = rsa.generate_private_key(65537, 2048)
    modulus = big.public_key().public_numbers()
    of_rsa = {"kty": "RSA", "n": number(modulus.n), "e": number(modulus.e)}
    jwks: list[tuple[str, Any, dict[str, str]]] = [
        ("EdDSA", ed, {"kty": "OKP", "crv": "Ed25519", "x": b64(ed.public_key().public_bytes_raw())}),
        ("ES256", small, {"kty": "EC", "crv": "P-256", **coordinates(small, 32)}),
        ("ES512", wide, {"kty": "EC", "crv": "P-521", **coordinates(wide, 66)}),
        ("RS256", big, of_rsa),
        ("PS256", big, of_rsa),
    ]
    keys = [{**jwk, "kid": name, "alg": name} for name, _, jwk in jwks]
    auth = Authenticator(issuer=ISSUER, jwks={"keys": keys})
    for name, private, _ in jwks:
        assert auth.verify(jwt.encode(claims, private, name, {"kid": name})).id == "user-1"
    assert Authenticator(secret=SECRET).verify(jwt.encode(claims, SECRET, "HS256")).id == "user-1"


def coordinates(key: ec.EllipticCurvePrivateKey, size: int) -> dict[str, str]:
    point = key.public_key().public_numbers()
    return {"x": b64(point.x.to_bytes(size)), "y": b64(point.y.to_bytes(size))}


def test_the_examples_of_the_rfcs_verify() -> None:
    # RFC 7515, appendix A.3.
    es256 = {
        "kid": "a3",
        "kty": "EC",
        "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    }
    text = (
        "eyJhbGciOiJFUzI1NiJ9"
        ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
        ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    )
    payload = parse(text, 8192).verified_payload(key_from_jwk(es256))
    assert payload == {"iss": "joe", "exp": 1300819380, "http://example.com/is_root": True}
    # RFC 8037, appendix A.4; its payload is no JSON, which is found out after the signature.
    eddsa = {"kid": "a4", "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    text = (
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
        ".hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    )
    with pytest.raises(Malformed, match="not JSON"):
        parse(text, 8192).verified_payload(key_from_jwk(eddsa))


def test_what_pyjwt_takes_and_this_parser_refuses() -> None:
    # If this fails because PyJWT has become stricter, the reason for our own parser may be gone.
    exp = int(time.time()) + 60
    auth = Authenticator(secret=SECRET)
    twice = hs256(f'{{"sub":"user-1","exp":{exp},"sub":"admin"}}')
    assert jwt.decode(twice, SECRET, ["HS256"])["sub"] == "admin"
    good = hs256({"sub": "user-1", "exp": exp})
    assert jwt.decode(f"{good}=", SECRET, ["HS256"])["sub"] == "user-1"
    huge = hs256(f'{{"sub":"user-1","exp":{exp},"iat":{exp - 60},"level":1e999}}')
    assert jwt.decode(huge, SECRET, ["HS256"])["level"] == float("inf")
    for text in (twice, f"{good}=", huge):
        with pytest.raises(InvalidCredential):
            auth.verify(text)
