"""An answer as it arrives: its events, or the reason why it was refused, each in time."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from voicecli import clock
from voicecli.sanitize import sanitize_short
from voicecli.services.openai.body import BodyDecoder, Frame, parse_json
from voicecli.services.openai.errors import ErrorFactory
from voicecli.services.openai.problems import Problem, find_error, read_problem
from voicecli.units import Seconds

if TYPE_CHECKING:
    import httpx2

DRAIN_TIMEOUT: Seconds = 0.1
"""How long to wait for the end of the body after [DONE]; without it, the connection is closed."""

MAX_REFUSAL = 1 << 20
"""Bytes of a refusal that are read."""


@dataclass(slots=True)
class Wait:
    """Until when something must come; ``late`` is the cause of the error if it does not."""

    deadline: Seconds = 0.0
    late: str = ""

    def restart(self, timeout: Seconds, what: str) -> None:
        """Give ``what`` ``timeout`` seconds from now."""
        self.deadline, self.late = clock.now() + timeout, f"no {what} within {timeout:g} s"


@dataclass(eq=False)
class Answer:
    """The response to a request.

    wait: for the next bytes.
    whole: whether its body was a completion and not a stream.
    """

    response: httpx2.Response
    errors: ErrorFactory
    wait: Wait
    whole: bool = False
    _body: BodyDecoder = field(default_factory=BodyDecoder)
    _ended: bool = False

    def __post_init__(self) -> None:
        self._bytes = self.response.aiter_bytes()

    async def read_frames(self, *, complete: bool) -> list[Frame] | None:
        """Return the events that the next bytes complete; None after the end.  Raises ServiceError.

        complete: whether the reply is; then a failure is nothing but an end.
        """
        import httpx2

        if self._ended:
            return None
        try:
            async with asyncio.timeout_at(self.wait.deadline):
                return self._body.feed(await anext(self._bytes))
        except StopAsyncIteration:
            return self._finish()
        except ValueError as error:
            raise self.errors.reject(self.response, str(error)) from None
        except TimeoutError:
            if not complete:
                raise self.errors.expire(self.wait.late, self.response) from None
        except httpx2.DecodingError as error:
            raise self.errors.reject(self.response, f"not compressed: {error}") from None
        except httpx2.HTTPError as error:
            if not complete:
                raise self.errors.disconnect(error, self.response) from None
        return self._finish()

    def _finish(self) -> list[Frame]:
        self._ended = True
        frames = self._body.finish()
        if not self._body.text.strip():
            return frames
        whole = Frame(parse_json(self._body.text.decode(errors="replace")))
        self.whole = isinstance(whole.data, dict) and "choices" in whole.data
        if not self.whole and find_error(whole) is None:
            raise self.errors.reject(self.response, self._body.text)
        return [whole]

    async def read_problem(self) -> Problem:
        """Read why the request is refused, to the end: the connection may carry the next one."""
        import httpx2

        body = b""
        try:
            async with asyncio.timeout_at(self.wait.deadline):
                async for data in self.response.aiter_bytes():
                    body += data if len(body) < MAX_REFUSAL else b""
        except (TimeoutError, httpx2.HTTPError):
            pass  # the status says enough
        if self.response.is_redirect:
            return Problem(_name_target(self.response.headers.get("location", "")))
        return read_problem(body[:MAX_REFUSAL])

    async def drain(self) -> None:
        """Read the end of the body after the last event."""
        import httpx2

        try:
            async with asyncio.timeout(DRAIN_TIMEOUT):
                async for _ in self._bytes:
                    pass
        except (TimeoutError, httpx2.HTTPError):
            pass  # the reply is complete


def _name_target(location: str) -> str:
    """Name the host that a redirect leads to; "" if it names none."""
    host = None
    with suppress(ValueError):  # http://[
        host = urlsplit(location).hostname
    return sanitize_short(f"to {host}") if host else ""
