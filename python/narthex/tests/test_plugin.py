"""The pytest plugin, in a run of its own."""

from __future__ import annotations

import pytest


def test_an_application_is_tested_without_a_server(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from narthex import Authenticator, InvalidCredential, Request, Unavailable

        auth = Authenticator(issuer="https://auth.test", revocations=True)

        @pytest.fixture(autouse=True)
        def issuer(narthex_issuer):
            with narthex_issuer.serving(auth):
                yield narthex_issuer

        def ask(headers):
            return auth.authenticate(Request("GET", [headers["Authorization"]], []))

        def test_a_token(issuer):
            assert ask(issuer.bearer("user-1", role="admin")).role == "admin"

        def test_time(issuer, narthex_clock):
            headers = issuer.bearer()
            narthex_clock.advance(900)
            with pytest.raises(InvalidCredential):
                ask(headers)

        def test_revocation(issuer, narthex_clock):
            headers = issuer.bearer()
            assert ask(headers).id == "user-1"
            issuer.revoke_user("user-1")
            with pytest.raises(InvalidCredential):
                ask(headers)

        def test_everybody(issuer, narthex_clock):
            headers = issuer.bearer()
            issuer.revoke_everybody(narthex_clock.now() + 5)
            assert ask(issuer.bearer(iat=int(narthex_clock.now()) + 5))
            with pytest.raises(InvalidCredential):
                ask(headers)

        def test_nothing_is_asked_over_the_network(issuer):
            issuer.away = True
            with pytest.raises(Unavailable):
                ask(issuer.bearer())
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=5)


def test_tokens_are_made_out_as_the_application_expects_them(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from narthex import Authenticator

        def test_another_issuer(narthex_issuer):
            first = Authenticator(issuer="https://auth.example.com", audience=["https://b.example", "https://a.example"])
            second = Authenticator(issuer="http://localhost:8000")
            before = narthex_issuer.token()
            for auth, audience in [(first, "https://a.example"), (second, "http://localhost:8000")]:
                with narthex_issuer.serving(auth):
                    assert auth.verify(narthex_issuer.token())["aud"] == audience
            assert narthex_issuer.token() == before
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


def test_without_fastapi_the_rest_works_and_auth_says_what_to_install(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys
        import pytest

        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in ("fastapi", "starlette", "flask", "django"):
                    raise ModuleNotFoundError(name)

        sys.meta_path.insert(0, Absent())

        def test_the_core_is_there():
            from narthex import Authenticator
            assert Authenticator(secret="x" * 32).status()["ready"]

        @pytest.mark.parametrize("name", ["fastapi", "starlette", "flask", "django"])
        def test_frameworks_are_named(name):
            with pytest.raises(ImportError, match="narthex." + name):
                __import__("narthex." + name)

        def test_auth_is_fastapis():
            import narthex
            with pytest.raises(ImportError, match="pip install"):
                narthex.Auth
            with pytest.raises(AttributeError, match="no attribute"):
                narthex.nothing
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=6)
