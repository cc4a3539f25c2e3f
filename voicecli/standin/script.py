"""Scripts: what the scripted engines recognise, answer and speak, and what the stand-ins do wrong.

``profile.script`` reads them from YAML files.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field
from typing import Literal, get_args

from voicecli import clock
from voicecli.events import Service
from voicecli.units import Seconds

Z95 = 1.6449
"""The 95th percentile of the normal distribution, in standard deviations."""


@dataclass(frozen=True, slots=True)
class Latency:
    """How long something takes: always ``p50``, or log-normal if there is a ``p95``.

    stall_share: the share of draws, from 0 to 1, to which a stall is added.
    stall: the shortest and the longest stall.
    """

    p50: Seconds
    p95: Seconds | None = None
    stall_share: float = 0.0
    stall: tuple[Seconds, Seconds] = (2.0, 8.0)

    def draw(self, rng: random.Random) -> Seconds:
        """Draw one latency."""
        taken = self.p50
        if self.p95 is not None:
            taken *= math.exp(rng.gauss(0.0, math.log(self.p95 / self.p50) / Z95))
        if self.stall_share and rng.random() < self.stall_share:
            taken += rng.uniform(*self.stall)
        return taken


@dataclass(frozen=True, slots=True)
class SttScript:
    """What the STT recognises, and when.

    final: from the endpoint in the audio to the final transcript.
    finalize: from Finalize to its answer.
    finalize_silence: whether a Finalize is answered when no voice is buffered.
    interim: audio between two interim transcripts.
    gap: silence that ends an item of ``hears``.
    hears: the text of each stretch of voice in turn, "" for none (a cough); after the last, the
        first again.
    """

    final: Latency = Latency(0.1)
    finalize: Latency = Latency(0.05)
    finalize_silence: bool = True
    interim: Seconds = 1.0
    gap: Seconds = 0.4
    hears: tuple[str, ...] = ("Hello.",)


@dataclass(frozen=True, slots=True)
class LlmScript:
    """What the LLM answers, and when.

    ttft: from the request to the first content token; token: from one token to the next.
    says: the reply to the first user message of a request, to the second, and so on.
    """

    ttft: Latency = Latency(0.2)
    token: Latency = Latency(0.015)
    says: tuple[str, ...] = ("Hello.",)


@dataclass(frozen=True, slots=True)
class TtsScript:
    """How the TTS speaks.

    ttfb: from Flush to the first audio.
    speed: of the delivery, in times real time.
    char: duration of one character of text.
    lead: silence before the first sound.
    """

    ttfb: Latency = Latency(0.12)
    speed: float = 4.0
    char: Seconds = 0.06
    lead: Seconds = 0.0


FaultKind = Literal[
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

refuse: the handshake or the request is answered with an HTTP error status.
drop: the connection is cut without a closing handshake.
stall: nothing is sent for a while; what was due is sent afterwards.
half_open: nothing is read or sent any more, and the connection stays open.
malformed: one frame is cut in half.
finalize_lost: the STT does not answer a Finalize.
warning: the TTS refuses a Flush, in the specification's spelling (``code``, ``description``).
odd_frames: the TTS cuts its audio in the middle of samples.
close_lost: the TTS ignores a Close.
"""

Occasion = Literal["connection", "request", "finalize", "flush", "close"]

FAULT_KINDS: dict[Service, tuple[FaultKind, ...]] = {
    "stt": ("refuse", "drop", "stall", "half_open", "malformed", "finalize_lost"),
    "llm": ("refuse", "drop", "stall", "half_open", "malformed"),
    "tts": (
        *("refuse", "drop", "stall", "half_open", "malformed"),
        *("warning", "odd_frames", "close_lost"),
    ),
}
assert set(get_args(FaultKind)) == {kind for kinds in FAULT_KINDS.values() for kind in kinds}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    on: the occasion, counted from 1 over the server's life, or "every".  An occasion is a
        connection (stt; tts when refusing), a request (llm), a Finalize, a Flush or a Close (tts).
    status: of a refusal.
    after: seconds from the start of the occasion.
    lasts: duration of a stall.
    """

    service: Service
    kind: FaultKind
    on: int | Literal["every"] = 1
    status: int = 503
    after: Seconds = 0.0
    lasts: Seconds = 5.0

    @property
    def occasion(self) -> Occasion:
        """The occasion that ``on`` counts."""
        if self.kind == "finalize_lost":
            return "finalize"
        if self.kind == "close_lost":
            return "close"
        if self.service == "llm":
            return "request"
        return "flush" if self.service == "tts" and self.kind != "refuse" else "connection"


@dataclass(frozen=True, slots=True)
class Script:
    """Everything that the scripted engines need, and the faults of their servers.

    seed: of the random latencies; each service draws from a generator of its own.
    """

    seed: int = 1
    stt: SttScript = field(default_factory=SttScript)
    llm: LlmScript = field(default_factory=LlmScript)
    tts: TtsScript = field(default_factory=TtsScript)
    faults: tuple[Fault, ...] = ()


# ── faults at work ───────────────────────────────────────────────────────────


class ConnectionBroken(Exception):
    """A fault ends the connection: the server must drop it or leave it half open."""

    def __init__(self, kind: FaultKind) -> None:
        super().__init__(kind)
        self.half_open = kind == "half_open"


class FaultSchedule:
    """A server's faults, by occasion."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self._faults = tuple(faults)
        self._counts: Counter[tuple[Service, Occasion]] = Counter()

    def begin(self, service: Service, occasion: Occasion) -> ActiveFaults:
        """Count the occasion, which begins now; return its faults."""
        self._counts[service, occasion] += 1
        return ActiveFaults(
            fault
            for fault in self._faults
            if (fault.service, fault.occasion) == (service, occasion)
            and fault.on in ("every", self._counts[service, occasion])
        )


class ActiveFaults:
    """The faults of one occasion; their times count from its start."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._faults = list(faults)
        self._began = clock.now()

    def find(self, kind: FaultKind) -> Fault | None:
        """Return the fault of this kind, if there is one."""
        return next((fault for fault in self._faults if fault.kind == kind), None)

    async def run(self, work: Awaitable[None]) -> None:
        """Run ``work``; raise ConnectionBroken when a drop or half_open fault is due."""
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
            raise ConnectionBroken(end.kind) from None

    async def wait_out_stall(self) -> None:
        """Wait, before something is sent, until no stall is under way."""
        if stall := self.find("stall"):
            elapsed = clock.now() - self._began - stall.after
            if 0 <= elapsed < stall.lasts:
                await asyncio.sleep(stall.lasts - elapsed)

    def corrupt(self, frame: str) -> str:
        """Return ``frame``, or only its first half if a malformed fault is due."""
        fault = self.find("malformed")
        if fault is None or clock.now() - self._began < fault.after:
            return frame
        self._faults.remove(fault)
        return frame[: len(frame) // 2]
