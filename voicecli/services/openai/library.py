"""The packages by which the LLM is reached, loaded beside a conversation that has begun."""

from __future__ import annotations

import asyncio

from voicecli.loading import Library

REHEARSAL = b"""data: {"choices":[{"index":0,"delta":{"content":"-"},"finish_reason":"stop"}]}

data: [DONE]

"""


def _use_http() -> None:
    """Import what opens a connection, some of it by way of a client's first one."""
    import httpx2

    httpx2.AsyncHTTPTransport(verify=False)


http_library = Library(_use_http)
"""``httpx2``: 0.1 s."""

library = Library(lambda: asyncio.run(_rehearse()))
"""``openai``: 0.3 s and 45 MB."""


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
