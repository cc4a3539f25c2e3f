"""Opens a connection, and retries temporary errors: which ones, how soon and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TypeVar

from voicecli import clock
from voicecli.errors import AbsentError, OfflineError, ServiceError
from voicecli.events import Service, Warned
from voicecli.pipeline import Post
from voicecli.units import Seconds

C = TypeVar("C")

RECONNECT_PAUSES: tuple[Seconds, ...] = (0.0, 0.25, 1.0, 2.0, 4.0)
"""Pause before each attempt to replace a lost connection; after the last one the session ends.

At the start of a session the first attempt is past, and the pauses after it are the same.
"""

LONGEST_PAUSE: Seconds = 4.0
"""Longest pause within a session, even if the service asks for more: the user is speaking."""

OPENING_PATIENCE: Seconds = 8.0
"""No further attempt to open a session's connection begins later than this after the first."""

OFFLINE_PATIENCE: Seconds = 1.5
"""The same without a network: enough for one that is just coming up, as after a suspend."""


async def open_patiently(
    stack: AsyncExitStack,
    service: Service,
    connect: Callable[[], AbstractAsyncContextManager[C]],
    post: Post,
) -> C:
    """Enter ``connect()`` on ``stack``; retry some errors, each of which is posted as Warned.

    Retried for OPENING_PATIENCE: 429, 5xx, a time-out, a connection that is reset or closed.
    Retried for OFFLINE_PATIENCE: no network (OfflineError).
    Not retried: an address at which nothing answers (AbsentError), which is probably wrong; failing
    TLS and other refusals, which do not go away; a service that asks to wait longer.

    Raises the last error.
    """
    began = clock.now()
    for pause in RECONNECT_PAUSES[1:]:
        try:
            return await stack.enter_async_context(connect())
        except ServiceError as error:
            wait = max(pause, error.retry_after or 0.0)
            if clock.now() + wait > began + _find_patience(error):
                raise
            post(warn_of_retry(service, error, wait))
        await asyncio.sleep(wait)
    return await stack.enter_async_context(connect())


def _find_patience(error: ServiceError) -> Seconds:
    """Return how long after the first attempt one may follow ``error``."""
    if not error.temporary or isinstance(error, AbsentError):
        return 0.0
    return OFFLINE_PATIENCE if isinstance(error, OfflineError) else OPENING_PATIENCE


def warn_of_retry(service: Service, error: ServiceError, pause: Seconds) -> Warned:
    """Create the event that announces another attempt in ``pause`` seconds."""
    soon = f"trying again in {pause:g} s" if pause else "reconnecting"
    return Warned(at=clock.now(), service=service, text=f"{error.cause}; {soon}")
