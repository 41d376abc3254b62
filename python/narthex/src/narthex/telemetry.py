"""What happened to credentials: a log line and a count for each check.

Counts are kept here, in bounded space, and written in the text format of Prometheus; `observer` hands each event to
whatever else counts.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

# Label values come from users' profiles and paths, so there is an end to how many are told apart.
MOST_SERIES = 1000
LONGEST_LABEL = 64
OTHER = "other"

_log = logging.getLogger("narthex")


@dataclass(frozen=True, slots=True)
class Event:
    """One check of a request's credential."""

    outcome: Literal["success", "failure"]
    # Why it failed, one of a few words; empty for a success.
    reason: str
    # `token`, `session`, `cookie`, or empty where there was none.
    kind: str
    method: str
    endpoint: str
    user_id: str | None = None
    activity: Mapping[str, str] = field(default_factory=dict)


Observer = Callable[[Event], None]


class Metrics:
    """Counts of events."""

    def __init__(self, activity_fields: Sequence[str], observer: Observer | None = None):
        self._fields = tuple(activity_fields)
        self._observer = observer
        self._lock = threading.Lock()
        self._validations: dict[tuple[str, ...], int] = {}
        self._requests: dict[tuple[str, ...], int] = {}
        self._activity: dict[tuple[str, ...], int] = {}

    def activity(self, claims: Mapping[str, object]) -> dict[str, str]:
        """What a user's activity is counted by."""
        values = {name: claims.get(name) for name in self._fields}
        return {
            name: str(value)[:LONGEST_LABEL] for name, value in values.items() if isinstance(value, (str, int, float))
        }

    def record(self, event: Event, explanation: str = "") -> None:
        """Counts and logs; what an observer does cannot fail the request."""
        with self._lock:
            _count(self._validations, (event.outcome, event.reason, event.kind))
            _count(self._requests, (event.method[:16], event.endpoint[:200], event.outcome))
            if event.outcome == "success":
                _count(self._activity, tuple(event.activity.get(name, "") for name in self._fields))
        if event.outcome == "failure":
            level = logging.DEBUG if event.reason == "missing" else logging.INFO
            if _log.isEnabledFor(level):
                _log.log(
                    level,
                    "refused %s %s: %s",
                    event.method,
                    _printable(event.endpoint),
                    _printable(explanation),
                    extra={"auth_reason": event.reason, "auth_kind": event.kind},
                )
        elif _log.isEnabledFor(logging.DEBUG):
            extra = {"user_id": event.user_id, "auth_kind": event.kind, "auth_activity": dict(event.activity)}
            _log.debug("accepted %s %s", event.method, _printable(event.endpoint), extra=extra)
        if self._observer is not None:
            try:
                self._observer(event)
            except Exception:  # noqa: BLE001 - it is somebody else's code
                _log.exception("the observer failed")

    def render(self) -> str:
        """Everything counted, in the text format of Prometheus."""
        with self._lock:
            tables = [
                (
                    "narthex_validations_total",
                    "Checks of credentials.",
                    ("outcome", "reason", "kind"),
                    dict(self._validations),
                ),
                (
                    "narthex_requests_total",
                    "Checked requests by endpoint.",
                    ("method", "endpoint", "outcome"),
                    dict(self._requests),
                ),
                (
                    "narthex_activity_total",
                    "Accepted requests by fields of the user.",
                    self._fields,
                    dict(self._activity),
                ),
            ]
        lines = []
        for name, help_text, labels, counts in tables:
            lines += [f"# HELP {name} {help_text}", f"# TYPE {name} counter"]
            for values, count in sorted(counts.items()):
                pairs = ",".join(f'{label}="{_escaped(value)}"' for label, value in zip(labels, values, strict=True))
                lines.append(f"{name}{{{pairs}}} {count}")
        return "\n".join(lines) + "\n"


def _count(table: dict[tuple[str, ...], int], labels: tuple[str, ...]) -> None:
    if labels not in table and len(table) >= MOST_SERIES:
        labels = (OTHER,) * len(labels)
    table[labels] = table.get(labels, 0) + 1


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _printable(text: str) -> str:
    return text if text.isprintable() else ascii(text)
