"""JWTs of issuers: RFC 8725, one attack after the other."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from joserfc.jwk import OctKey
from pydantic import ValidationError

from bones.clock import ManualClock
from bones.token_maker import ISSUER, NOW, TokenMaker, encoded, issuer_settings, sign_compact
from muster_queue.identity.errors import Unauthenticated
from muster_queue.identity.issuer_tokens import END_OF_TIME, IssuerVerifier
from muster_queue.identity.keys import KeyRing, read_keys
from muster_queue.identity.settings import Algorithm, IssuerSettings

MAKER = TokenMaker("RS256", "ES256", "EdDSA")


def verifier(maker: TokenMaker = MAKER, **changes: Any) -> IssuerVerifier:
    clock = ManualClock(datetime.fromtimestamp(NOW, UTC))

    async def document() -> bytes:
        return maker.document()

    return IssuerVerifier(issuer_settings("/keys", **changes), KeyRing(ISSUER, document, clock), clock)


@pytest.mark.parametrize("algorithm", list(Algorithm))
async def test_tokens_of_each_algorithm_are_believed(algorithm: str) -> None:
    caller = await verifier().verify(MAKER.token(algorithm, groups=["team", "all"], jti="j", namespace="vision"))
    assert (caller.name, caller.groups) == ("oidc:ann", ("oidc:team", "oidc:all", "system:authenticated"))
    assert (caller.namespace, caller.expires, caller.token_id) == ("vision", NOW + 600, "j")


@pytest.mark.parametrize(
    ("claims", "told"),
    [
        ({"exp": NOW - 31}, "expired"),
        ({"exp": None}, "exp"),
        ({"exp": "never"}, "exp"),
        ({"nbf": NOW + 40}, "not yet valid"),
        ({"iat": NOW + 40}, "issued in the future"),
        ({"iss": "https://issuer.example.com/"}, "iss"),
        ({"iss": ["https://issuer.example.com"]}, "iss"),
        ({"iss": None}, "iss"),
        ({"aud": "somebody-else"}, "aud"),
        ({"aud": []}, "aud"),
        ({"aud": None}, "aud"),
        ({"aud": {"muster": 1}}, "aud"),
        ({"sub": None}, "sub is no user name"),
        ({"sub": ""}, "sub is no user name"),
        ({"sub": 7}, "sub"),
        ({"sub": "a\nb"}, "sub is no user name"),
        ({"sub": "a" * 257}, "sub is no user name"),
        ({"namespace": "../kube-system"}, "namespace is none"),
        ({"namespace": ["a"]}, "namespace is none"),
        ({"groups": {"a": 1}}, "groups is no list"),
        ({"groups": [1]}, "groups is no user name"),
        ({"groups": ["g"] * 201}, "groups is no list"),
    ],
)
async def test_claims_that_do_not_hold_are_refused(claims: dict[str, Any], told: str) -> None:
    with pytest.raises(Unauthenticated, match=told):
        await verifier().verify(MAKER.token(**claims))


async def test_a_token_for_ever_is_looked_at_again_like_any_other() -> None:
    assert (await verifier().verify(MAKER.token(exp=10**400))).expires == END_OF_TIME


async def test_clocks_may_differ_a_little() -> None:
    assert await verifier().verify(MAKER.token(exp=NOW - 20, nbf=NOW + 20, iat=NOW + 20))
    with pytest.raises(Unauthenticated):
        await verifier(leeway_seconds=0).verify(MAKER.token(exp=NOW - 1))
    assert await verifier().verify(MAKER.token(aud=["other", "muster"]))


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ({"crit": ["exp"]}, "critical"),
        ({"crit": []}, "critical"),
        ({"crit": ["b64"], "b64": False}, "critical"),
        ({"crit": None}, "critical"),
        ({"typ": "secevent+jwt"}, "another type"),
        ({"typ": "JWE"}, "another type"),
        ({"kid": "other"}, "does not publish"),
        ({"kid": "../../etc/passwd"}, "does not publish"),
        ({"kid": 7}, "no JWT"),
        ({"alg": 7}, "no JWT"),
    ],
)
async def test_headers_that_ask_for_something_are_refused(header: dict[str, Any], told: str) -> None:
    good = MAKER.token()
    head = {"alg": "EdDSA", "kid": "key-EdDSA", "typ": "JWT", **header}
    with pytest.raises(Unauthenticated, match=told):
        await verifier().verify(f"{encoded(json.dumps(head).encode())}.{good.split('.', 1)[1]}")


async def test_headers_that_bring_a_key_along_change_nothing() -> None:
    thief = TokenMaker("EdDSA")
    stolen = {
        "jwk": thief.keys["EdDSA"].as_dict(private=False),
        "jku": "https://evil.example.com",
        "x5u": "https://evil.example.com",
    }
    assert await verifier().verify(MAKER.token(header=stolen))
    with pytest.raises(Unauthenticated, match="does not hold"):
        await verifier().verify(thief.token(header=stolen))


@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt", "application/at+jwt"])
async def test_types_of_access_tokens_are_fine(typ: str) -> None:
    assert await verifier().verify(MAKER.token(header={"typ": typ}))


async def test_no_signature_is_no_token() -> None:
    payload = encoded(json.dumps(TokenMaker.claims()).encode())
    for algorithm in ("none", "None", "NONE", ""):
        head = encoded(json.dumps({"alg": algorithm, "kid": "key-EdDSA"}).encode())
        with pytest.raises(Unauthenticated):
            await verifier().verify(f"{head}.{payload}.")


async def test_a_public_key_is_no_secret_to_sign_with() -> None:
    """RS256 turned into HS256, with the key that everybody knows as the secret."""
    public = MAKER.keys["RS256"].as_pem(private=False)
    head = {"alg": "HS256", "kid": "key-RS256", "typ": "JWT"}
    payload = json.dumps(TokenMaker.claims()).encode()
    signing = f"{encoded(json.dumps(head).encode())}.{encoded(payload)}"
    forged = f"{signing}.{encoded(hmac.new(public, signing.encode(), hashlib.sha256).digest())}"
    with pytest.raises(Unauthenticated, match="signed in a way"):
        await verifier().verify(forged)


async def test_a_key_is_good_for_its_own_algorithm_only() -> None:
    with pytest.raises(Unauthenticated, match="does not publish"):
        await verifier().verify(MAKER.token("ES256", header={"kid": "key-RS256"}))
    only = verifier(algorithms=(Algorithm.RS256,))
    with pytest.raises(Unauthenticated, match="signed in a way"):
        await only.verify(MAKER.token("ES256"))


async def test_a_signature_holds_for_what_was_signed() -> None:
    head, payload, signature = MAKER.token().split(".")
    other = encoded(json.dumps({**TokenMaker.claims(), "sub": "root"}).encode())
    for token in (f"{head}.{other}.{signature}", f"{head}.{payload}.{signature[:-4]}AAAA", f"{head}.{payload}."):
        with pytest.raises(Unauthenticated):
            await verifier().verify(token)


async def test_a_jwt_without_a_key_id_is_believed_where_there_is_no_choice() -> None:
    maker = TokenMaker("EdDSA")
    key = maker.keys["EdDSA"]
    token = sign_compact({"alg": "EdDSA"}, json.dumps(TokenMaker.claims()).encode(), key)
    assert await verifier(maker).verify(token)


@pytest.mark.parametrize(
    "token", ["", "a", "a.b", "a.b.c", "a.b.c.d", "é.b.c", "." * 8000, encoded(b"[" * 3000) + ".b.c"]
)
async def test_nonsense_is_no_token(token: str) -> None:
    with pytest.raises(Unauthenticated):
        await verifier().verify(token)


async def test_no_issuer_makes_kubernetes_own_users() -> None:
    bare = verifier(username_prefix="", groups_prefix="")
    for claims in ({"sub": "system:serviceaccount:muster-system:muster-controller"}, {"groups": ["system:masters"]}):
        with pytest.raises(Unauthenticated, match="Kubernetes' own"):
            await bare.verify(MAKER.token(**claims))
    assert (await bare.verify(MAKER.token())).name == "ann"


@pytest.mark.parametrize(
    "changes",
    [
        {"keys": "http://issuer.example.com/jwks"},
        {"keys": "http://169.254.169.254/jwks"},
        {"keys": "ftp://127.0.0.1/jwks"},
        {"keys": "https://user:secret@issuer.example.com/"},
        {"keys": "jwks.json"},
        {"algorithms": ("HS256",)},
        {"algorithms": ("none",)},
        {"algorithms": ()},
        {"leeway_seconds": 61},
        {"issuer": ""},
        {"audience": ""},
        {"username_prefix": "system:"},
        {"unknown": 1},
    ],
)
def test_unsafe_settings_do_not_start(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        issuer_settings(**{"keys": "/keys", **changes})


@pytest.mark.parametrize(
    "keys", ["https://a.example.com/k", "http://127.0.0.1:1/k", "http://[::1]/k", "http://localhost/k"]
)
def test_keys_come_over_tls_or_from_this_machine(keys: str) -> None:
    assert isinstance(issuer_settings(keys), IssuerSettings)


def test_symmetric_keys_are_never_keys_of_an_issuer() -> None:
    secret = OctKey.generate_key(256, {"kid": "s"}).as_dict(private=True)
    short = {"kty": "RSA", "kid": "r", "n": "AQAB" * 20, "e": "AQAB"}
    good = MAKER.keys["ES256"].as_dict(private=False)
    other_use, other_curve = {**good, "use": "enc"}, {**good, "crv": "P-521"}
    broken = {"kty": "EC", "crv": "P-256", "kid": "b", "x": "AA"}
    document = json.dumps({"keys": [secret, short, other_use, other_curve, broken, {"kty": 7}, good]}).encode()
    assert [key.kid for key in read_keys(document)] == ["key-ES256"]
