"""What a stand-in does wrong, on purpose, at a chosen moment."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from voicecli import clock
from voicecli.events import Service
from voicecli.units import Seconds

Kind = Literal[
    "refuse",
    "drop",
    "stall",
    "half_open",
    "malformed",
    "finalize_lost",
    "warning",
    "odd_frames",
    "close_lost",
]
"""What goes wrong.

refuse: the handshake or the request is answered with an HTTP status instead.
drop: the connection is cut without a good-bye.
stall: nothing is sent for a while; what was due is sent then.
half_open: nothing is ever read or sent again, and the connection stays.
malformed: one frame leaves torn in half.
finalize_lost: the STT does not answer a Finalize.
warning: the TTS refuses a Flush, in the specification's spelling (``code``, ``description``).
odd_frames: the TTS cuts its audio in the middle of samples.
close_lost: the TTS does not hang up when it is told to Close.
"""

Occasion = Literal["connection", "request", "finalize", "flush", "close"]

KINDS: dict[Service, tuple[Kind, ...]] = {
    "stt": ("refuse", "drop", "stall", "half_open", "malformed", "finalize_lost"),
    "llm": ("refuse", "drop", "stall", "half_open", "malformed"),
    "tts": (
        "refuse",
        "drop",
        "stall",
        "half_open",
        "malformed",
        "warning",
        "odd_frames",
        "close_lost",
    ),
}
assert set(get_args(Kind)) == {kind for kinds in KINDS.values() for kind in kinds}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    on: at which occasion, counted from 1 over the server's life; or at every one.  An occasion is a
        connection (stt; tts when refusing), a request (llm), a Finalize, a Flush or a Close (tts).
    status: of a refusal.
    after: seconds from the beginning of the occasion.
    lasts: seconds that a stall lasts.
    """

    service: Service
    kind: Kind
    on: int | Literal["every"] = 1
    status: int = 503
    after: Seconds = 0.0
    lasts: Seconds = 5.0

    @property
    def occasion(self) -> Occasion:
        """What ``on`` counts."""
        if self.kind == "finalize_lost":
            return "finalize"
        if self.kind == "close_lost":
            return "close"
        if self.service == "llm":
            return "request"
        return "flush" if self.service == "tts" and self.kind != "refuse" else "connection"


class Broken(Exception):
    """The connection is to be dropped, or left half open."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        self.half_open = kind == "half_open"


class Faults:
    """The faults of a server, handed out as the occasions come."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self._faults = tuple(faults)
        self._counts: Counter[tuple[Service, Occasion]] = Counter()

    def at(self, service: Service, occasion: Occasion) -> Trouble:
        """The trouble of the next such occasion, which begins now."""
        self._counts[service, occasion] += 1
        return Trouble(
            fault
            for fault in self._faults
            if (fault.service, fault.occasion) == (service, occasion)
            and fault.on in ("every", self._counts[service, occasion])
        )


class Trouble:
    """The faults of one occasion, on its own time."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._faults = list(faults)
        self._began = clock.now()

    def find(self, kind: Kind) -> Fault | None:
        """The fault of this kind, if there is one."""
        return next((fault for fault in self._faults if fault.kind == kind), None)

    async def bear(self, work: Awaitable[None]) -> None:
        """Do ``work`` until it is done; raises Broken where it is to break off."""
        end = min(
            (fault for fault in self._faults if fault.kind in ("drop", "half_open")),
            key=lambda fault: fault.after,
            default=None,
        )
        limit = asyncio.timeout_at(None if end is None else self._began + end.after)
        try:
            async with limit:
                await work
        except TimeoutError:
            if end is None or not limit.expired():
                raise
            raise Broken(end.kind) from None

    async def hold(self) -> None:
        """Wait, before something is sent, while the line is stalled."""
        if stall := self.find("stall"):
            begun = clock.now() - self._began - stall.after
            if 0 <= begun < stall.lasts:
                await asyncio.sleep(stall.lasts - begun)

    def tear(self, frame: str) -> str:
        """``frame``, or its first half if this is the one that leaves malformed."""
        torn = self.find("malformed")
        if torn is None or clock.now() - self._began < torn.after:
            return frame
        self._faults.remove(torn)
        return frame[: len(frame) // 2]
