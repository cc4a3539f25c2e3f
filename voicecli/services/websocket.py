"""A WebSocket connection that fails quietly where the library prints a traceback."""

from __future__ import annotations

from typing_extensions import override
from websockets.asyncio.client import ClientConnection


class Connection(ClientConnection):
    """The library's connection, also where TLS through a proxy fails.

    Until ``connection_made``, which comes after TLS, the library's own (17.0) has no attribute that
    its ``connection_lost`` needs; asyncio would log the AttributeError.
    """

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if hasattr(self, "recv_messages"):
            super().connection_lost(exc)
