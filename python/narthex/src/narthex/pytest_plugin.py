"""For pytest: `narthex_issuer` mints tokens without a server.

@pytest.fixture(autouse=True)
def signed(narthex_issuer):
    with narthex_issuer.serving(auth):
        yield
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .testing import FakeClock, Issuer

# Imported inside: pytest loads plugins before it measures coverage.


@pytest.fixture
def narthex_clock() -> FakeClock:
    """The clock of `narthex_issuer`; it stands still until it is moved."""
    from .testing import FakeClock

    return FakeClock()


@pytest.fixture
def narthex_issuer(narthex_clock: FakeClock) -> Issuer:
    """An issuer in memory; `narthex_issuer.serving(auth)` puts it in the server's place."""
    from .testing import Issuer

    return Issuer(clock=narthex_clock)
