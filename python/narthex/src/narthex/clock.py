"""The one place that asks for the time, so that tests move a clock instead of sleeping."""

from __future__ import annotations

import time


class Clock:
    """The operating system's clocks."""

    def now(self) -> float:
        """Seconds since 1970, as tokens count them."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never jump, for the age of what is cached."""
        return time.monotonic()
