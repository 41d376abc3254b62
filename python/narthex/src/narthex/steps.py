"""One way through the code for sync and async callers.

What has to wait is a generator that yields futures; `drive` waits for them in a thread, `drive_async` in a task.
What the futures stand for runs in threads of its own, once for all who ask for the same.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from .errors import AuthError, Unavailable

T = TypeVar("T")
Steps = Generator["Future[Any]", Any, T]


def drive(steps: Steps[T]) -> T:
    """Runs to the end, blocking this thread where something has to be waited for."""
    try:
        future = next(steps)
        while True:
            try:
                result = future.result()
            except AuthError as error:
                future = steps.throw(error)
            else:
                future = steps.send(result)
    except StopIteration as stop:
        value: T = stop.value
        return value


async def drive_async(steps: Steps[T]) -> T:
    """Runs to the end without blocking the event loop."""
    try:
        future = next(steps)
        while True:
            try:
                # Shielded: who leaves must not end what others wait for.
                result = await asyncio.shield(asyncio.wrap_future(future))
            except AuthError as error:
                future = steps.throw(error)
            else:
                future = steps.send(result)
    except StopIteration as stop:
        value: T = stop.value
        return value


class Forkable(Protocol):
    """What threads stand behind."""

    def forget(self) -> None:
        """Begins anew in the child of a fork: the threads, and what they held, stayed with the parent."""


def forget_after_fork(one: Forkable) -> None:
    """Tells of something that is to forget its threads in the child of a fork."""
    _forkable.add(one)


def _forget() -> None:
    # Who waited here for a thread of the parent would wait for ever.
    for one in _forkable:
        one.forget()


_forkable: weakref.WeakSet[Forkable] = weakref.WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class Flights:
    """Work in threads of its own: the same work once at a time, and not too much at once."""

    def __init__(self, most: int):
        self._most = most
        self._lock = threading.Lock()
        self._running: dict[object, Future[Any]] = {}
        forget_after_fork(self)

    def forget(self) -> None:
        """Begins anew in the child of a fork."""
        self._lock = threading.Lock()
        self._running = {}

    def run(self, key: object, work: Callable[[], T]) -> Future[T]:
        """Starts the work, or joins who is at it already."""
        with self._lock:
            future = self._running.get(key)
            if future is not None:
                return future
            if len(self._running) >= self._most:
                raise Unavailable("too many questions to the server at once", retry_after=1)
            future = self._running[key] = Future()
            future.set_running_or_notify_cancel()
        try:
            threading.Thread(target=self._work, args=(key, work, future), name="narthex-ask", daemon=True).start()
        except RuntimeError:
            # No thread can be had: nobody must wait for one.
            with self._lock:
                del self._running[key]
            future.set_exception(Unavailable("no thread could be started", retry_after=1))
        return future

    def is_running(self, key: object) -> bool:
        """Whether someone is at it."""
        with self._lock:
            return key in self._running

    def _work(self, key: object, work: Callable[[], T], future: Future[T]) -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            self._land(key)
            future.set_exception(error)
        else:
            self._land(key)
            future.set_result(result)

    def _land(self, key: object) -> None:
        with self._lock:
            del self._running[key]
