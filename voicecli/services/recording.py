"""What the adapters tell of their traffic while it is recorded.

An adapter reports each message where it enters or leaves the process: recording adds no delay to
what is measured.  What becomes of the reports is not its concern (``voicecli.cassette``).
Headers are not reported, but for the few that an answer cannot be read without.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

KEPT_HEADERS = (
    "content-type",
    "content-encoding",
    "dg-error",
    "dg-request-id",
    "location",
    "retry-after",
    "x-request-id",
)
"""Of an answer; the adapters read these."""


class SocketTape(Protocol):
    """Takes the reports of one WebSocket."""

    def opened(self, headers: Mapping[str, str]) -> None:
        """The service has accepted the handshake."""

    def refused(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """The service has answered the handshake with an HTTP error."""

    def sent(self, message: str | bytes) -> None:
        """A message leaves for the service."""

    def received(self, message: str | bytes) -> None:
        """A message of the service is complete."""

    def closed(self, code: int, reason: str, *, by_service: bool) -> None:
        """The connection is gone."""


class RequestTape(Protocol):
    """Takes the reports of one HTTP request."""

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        """The head of the answer is here."""

    def received(self, data: bytes) -> None:
        """A part of the answer's body is here."""

    def ended(self) -> None:
        """The answer is complete."""

    def left(self) -> None:
        """This side has left before the end; counts only once, and not after the end."""

    def lost(self) -> None:
        """The connection broke."""


class ServiceRecorder(Protocol):
    """Records what is said to services and by them."""

    def record_socket(self, service: str, path: str) -> SocketTape:
        """Record a WebSocket that is about to be opened; ``path``: below the service's URL."""

    def record_request(self, method: str, path: str, body: bytes) -> RequestTape:
        """Record an HTTP request to the LLM that is about to be sent."""


def keep_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return those of an answer's headers that may be recorded."""
    found = {name: headers.get(name) for name in KEPT_HEADERS}
    return {name: value for name, value in found.items() if value is not None}
