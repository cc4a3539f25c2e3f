"""Loads the ``openai`` package beside a conversation that has begun."""

from __future__ import annotations

import asyncio
import gc
import sys
from threading import Lock

from voicecli.units import Seconds

REHEARSAL = b"""data: {"choices":[{"index":0,"delta":{"content":"-"},"finish_reason":"stop"}]}

data: [DONE]

"""

SWITCH_INTERVAL: Seconds = 0.001
"""How soon a thread that loads lets the event loop run; Python's 5 ms would add up to MAX_LAG."""


class _Library:
    """The ``openai`` package: 0.3 s and 45 MB, which the first reply needs and the start does not.

    loaded: whether it has been imported and has done the work of its first request.
    """

    def __init__(self) -> None:
        self.loaded = False
        self._lock = Lock()

    def load(self) -> None:
        """Load it, in a thread other than the event loop's, and let the loop run meanwhile."""
        with self._lock:
            if self.loaded:
                return
            interval, collects = sys.getswitchinterval(), gc.isenabled()
            sys.setswitchinterval(SWITCH_INTERVAL)
            gc.disable()  # a collection stops all threads, for up to 35 ms
            try:
                asyncio.run(_rehearse())
                self.loaded = True
            finally:
                gc.freeze()  # nothing of it is ever garbage
                if collects:
                    gc.enable()
                sys.setswitchinterval(interval)


library = _Library()


async def _rehearse() -> None:
    """Make the library do the work of its first request.  Nothing is sent anywhere."""
    import httpx2
    import openai

    def answer(_: httpx2.Request) -> httpx2.Response:
        headers = {"content-type": "text/event-stream"}
        return httpx2.Response(200, headers=headers, content=REHEARSAL)

    transport = httpx2.MockTransport(answer)
    async with httpx2.AsyncClient(transport=transport, trust_env=False) as http_client:
        client = openai.AsyncOpenAI(
            api_key="unused", base_url="http://localhost", http_client=http_client
        )
        async for _ in await client.chat.completions.create(model="", messages=[], stream=True):
            pass
