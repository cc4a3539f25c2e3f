"""Opens a connection, and retries temporary errors: which ones, how soon and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TypeVar

from voicecli import clock
from voicecli.errors import AbsentError, ServiceError
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


async def open_patiently(
    stack: AsyncExitStack,
    service: Service,
    connect: Callable[[], AbstractAsyncContextManager[C]],
    post: Post,
) -> C:
    """Enter ``connect()`` on ``stack``; retry temporary errors for OPENING_PATIENCE.

    Each error that is retried is posted as Warned.  Not retried: an address at which nothing
    answers, which is probably wrong, and a service that asks to wait longer than that.

    Raises the last error.
    """
    gives_up = clock.now() + OPENING_PATIENCE
    for pause in RECONNECT_PAUSES[1:]:
        try:
            return await stack.enter_async_context(connect())
        except ServiceError as error:
            wait = max(pause, error.retry_after or 0.0)
            late = clock.now() + wait > gives_up
            if late or not error.temporary or isinstance(error, AbsentError):
                raise
            text = f"{error.cause}; trying again in {wait:g} s"
            post(Warned(at=clock.now(), service=service, text=text))
        await asyncio.sleep(wait)
    return await stack.enter_async_context(connect())
