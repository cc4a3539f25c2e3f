"""Scripts: what the scripted engines recognise, answer and speak, and what the stand-ins do wrong.

``profile.load`` reads them from YAML files.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from voicecli import clock
from voicecli.events import Service
from voicecli.settings import SettingsConflict, milliseconds, section, setting
from voicecli.units import Seconds

Z95 = 1.6449  # the 95th percentile of the normal distribution, in standard deviations

LONGEST = 600_000  # milliseconds: nothing in a script takes longer


@dataclass(frozen=True, slots=True)
class Latency:
    """How long something takes: always ``p50``, or log-normal if there is a ``p95``.

    In a script, a number stands for p50.
    """

    p50: Seconds = milliseconds(key="p50", ge=0, le=LONGEST, whole=False, doc="Median.")
    p95: Seconds | None = milliseconds(
        None, "95th percentile; null: it is always p50.", key="p95", gt=0, le=LONGEST, whole=False
    )
    stall_share: float = setting(0.0, "Share of the draws with a stall, 0 to 1.", ge=0, le=1)
    stall: tuple[Seconds, Seconds] = milliseconds(
        (2.0, 8.0), "The shortest and the longest stall.", ge=0, le=LONGEST, whole=False
    )

    def check(self) -> None:
        """Raise SettingsConflict where the percentiles make no distribution."""
        if self.p95 is not None and not 0 < self.p50 <= self.p95:
            raise SettingsConflict("p95 must be at least p50, and p50 above 0", "p95", "p50")

    def draw(self, rng: random.Random) -> Seconds:
        """Draw one latency."""
        taken = self.p50
        if self.p95 is not None and self.p95 > self.p50:
            taken *= math.exp(rng.gauss(0.0, math.log(self.p95 / self.p50) / Z95))
        if self.stall_share and rng.random() < self.stall_share:
            taken += rng.uniform(*self.stall)
        return taken


@dataclass(frozen=True, slots=True)
class SttScript:
    """What the STT recognises, and when.  After the last item of ``hears``, the first follows."""

    final: Latency = setting(Latency(0.1), "From the endpoint to the final.", key="final_ms")
    finalize: Latency = setting(Latency(0.05), "Finalize to its answer.", key="finalize_ms")
    finalize_silence: bool = setting(True, "Answer a Finalize when no voice is buffered.")
    interim: Seconds = milliseconds(
        1000, "Audio between two interims.", ge=10, le=LONGEST, whole=False
    )
    interim_lag: Seconds = milliseconds(
        0,
        "From the end of the audio that an interim covers to its arrival.",
        ge=0,
        le=LONGEST,
        whole=False,
    )
    words_per_second: float = setting(
        3.0, "Words that an interim has of a stretch of voice that may go on.", gt=0, le=1000
    )
    gap: Seconds = milliseconds(
        400, "Silence that ends an item of hears.", ge=30, le=LONGEST, whole=False
    )
    hears: tuple[str, ...] = setting(
        ("Hello.",), "The text of each stretch of voice; empty: none (a cough).", empty=True
    )
    turn_end: Seconds = milliseconds(
        300,
        "Flux: silence after which the confidence in a turn's end is 0.7.",
        gt=0,
        le=LONGEST,
        whole=False,
    )
    hesitation: float = setting(
        4.0,
        "Flux: how many times longer that takes after words that hang; half, if unclear.",
        ge=1,
        le=1000,
    )
    early_words: bool = setting(False, "Flux: words come before the turn has begun.")
    older: bool = setting(False, "Flux: words without times, ends of turns without a trigger.")

    def check(self) -> None:
        """Raise SettingsConflict where there is no text at all."""
        if not self.hears:
            raise SettingsConflict("hears must have at least one text", "hears")


@dataclass(frozen=True, slots=True)
class ReplyScript:
    """What a model answers, and when."""

    ttft: Latency = setting(Latency(0.2), "From the request to the first token.", key="ttft_ms")
    token: Latency = setting(Latency(0.015), "From one token to the next.", key="token_ms")
    says: tuple[str, ...] = setting(("Hello.",), "The reply to each user message of a request.")

    def check(self) -> None:
        """Raise SettingsConflict where a reply is missing."""
        if not self.says or not all(map(str.strip, self.says)):
            raise SettingsConflict("says must have at least one text, and no blank one", "says")


@dataclass(frozen=True, slots=True)
class LlmScript(ReplyScript):
    """What the LLM answers, and when."""

    models: Mapping[str, ReplyScript] = setting(
        {}, "Models, by name, with latencies and replies of their own."
    )

    def find_model(self, name: str) -> ReplyScript:
        """Return what the model ``name`` answers, and when."""
        return self.models.get(name, self)


Speaks = Literal["flush", "sentences"]


@dataclass(frozen=True, slots=True)
class TtsScript:
    """How the TTS speaks."""

    ttfb: Latency = setting(Latency(0.12), "From Flush to the first audio.", key="ttfb_ms")
    speed: float = setting(4.0, "Delivery, in times real time.", ge=0.1)
    char: Seconds = milliseconds(
        60, "Duration of one character of text.", ge=1, le=1000, whole=False
    )
    lead: Seconds = milliseconds(0, "Silence before the first sound.", ge=0, le=60_000, whole=False)
    speaks: Speaks = setting(
        "flush", "When it speaks: on Flush only, or also at the end of each sentence."
    )


AnyFault = Literal["refuse", "drop", "stall", "half_open", "malformed"]
SttFault = Literal["finalize_lost"]
FluxSttFault = Literal[
    "finalize_refused", "configure_lost", "configure_refused", "configure_unknown", "turn_end_lost"
]
TtsFault = Literal["warning", "odd_frames", "close_lost"]
InterruptFault = Literal["interrupt_lost", "interrupt_busy", "stale_offset", "text_missing"]
FluxTtsFault = Literal["expired", "flushed_late", InterruptFault]
FaultKind = Literal[AnyFault, SttFault, FluxSttFault, TtsFault, FluxTtsFault]
"""What goes wrong.

refuse: the handshake or the request is answered with an HTTP error status.
drop: the connection is cut without a closing handshake.
stall: nothing is sent for a while; what was due is sent afterwards.
half_open: nothing is read or sent any more, and the connection stays open.
malformed: one frame is cut in half.
finalize_lost: the STT does not answer a Finalize or ForceEndTurn.
warning: the TTS refuses a Flush, in the specification's spelling (``code``, ``description``).
odd_frames: the TTS cuts its audio in the middle of samples.
close_lost: the TTS ignores a Close.

On ``/v2/listen`` only:

finalize_refused: the deployment takes no ForceEndTurn: an Error, and the connection is closed.
configure_lost: a Configure is not answered.
configure_refused: a Configure is answered with ConfigureFailure.
configure_unknown: the deployment takes no Configure: an Error, and the connection is closed.
turn_end_lost: the end of the turn is expected, and found only by the time-out.

On ``/v2/speak`` only:

expired: the connection ends as if it had reached its time limit.
flushed_late: Flushed follows the end of the speech; otherwise it follows the Flush at once.
interrupt_lost: an Interrupt is ignored without an answer.
interrupt_busy: it is ignored, because an earlier one is being processed.
stale_offset: an offset is refused, because it did not advance.
text_missing: the answer to an Interrupt does not tell which words were heard.
"""

FAULT_KINDS: dict[Service, tuple[FaultKind, ...]] = {
    "stt": (*get_args(AnyFault), *get_args(SttFault), *get_args(FluxSttFault)),
    "llm": get_args(AnyFault),
    "tts": (*get_args(AnyFault), *get_args(TtsFault), *get_args(FluxTtsFault)),
}

Occasion = Literal[
    "connection", "request", "finalize", "configure", "turn", "flush", "interrupt", "close"
]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong, at a certain occasion.

    An occasion is a connection (stt; tts when refusing), a request (llm), a Finalize (stt), a Flush
    or a Close (tts); they are counted over the server's life.  On ``/v2/speak`` a speech, from its
    first text, counts as a Flush, and an Interrupt is an occasion, too.  On ``/v2/listen`` a
    ForceEndTurn counts as a Finalize, and a Configure and a turn are occasions.
    """

    service: Service = setting(doc="The service that fails.")
    kind: FaultKind = setting(doc="What goes wrong.")
    on: int | Literal["every"] = setting(1, "Occasion, counted from 1; every: all.", ge=1)
    status: int = setting(503, "HTTP status of a refusal.", ge=400, le=599)
    retry_after: Seconds | None = milliseconds(
        None,
        "Retry-After of a refusal, rounded up to seconds; null: none.",
        ge=0,
        le=LONGEST,
        whole=False,
    )
    after: Seconds = milliseconds(
        0, "Time from the start of the occasion.", ge=0, le=LONGEST, whole=False
    )
    lasts: Seconds = milliseconds(
        5000, "Duration of a stall.", key="for_ms", ge=0, le=LONGEST, whole=False
    )

    def check(self) -> None:
        """Raise SettingsConflict where the service has no such fault."""
        if self.kind not in (known := FAULT_KINDS[self.service]):
            rule = f"kind must be one of {', '.join(known)}, not {self.kind!r}"
            raise SettingsConflict(rule, "kind", "service")

    @property
    def headers(self) -> Mapping[str, str]:
        """What a refusal has besides the usual headers."""
        if self.retry_after is None:
            return {}
        return {"retry-after": str(math.ceil(self.retry_after))}

    @property
    def occasion(self) -> Occasion:
        """The occasion that ``on`` counts."""
        if self.kind in ("finalize_lost", "finalize_refused"):
            return "finalize"
        if self.kind.startswith("configure_"):
            return "configure"
        if self.kind == "turn_end_lost":
            return "turn"
        if self.kind == "close_lost":
            return "close"
        if self.kind in get_args(InterruptFault):
            return "interrupt"
        if self.kind == "expired":
            return "connection"
        if self.service == "llm":
            return "request"
        return "flush" if self.service == "tts" and self.kind != "refuse" else "connection"


@dataclass(frozen=True, slots=True)
class Script:
    """Everything that the scripted engines need, and the faults of their servers."""

    seed: int = setting(1, "Of the random latencies.", ge=0)
    stt: SttScript = section(SttScript)
    llm: LlmScript = section(LlmScript)
    tts: TtsScript = section(TtsScript)
    faults: tuple[Fault, ...] = setting((), "What the stand-ins do wrong.")


class ConnectionBroken(Exception):
    """A fault ends the connection: the server must drop it."""


class HalfOpen(ConnectionBroken):
    """The server must leave the connection open, and neither read nor send any more."""


class FaultSchedule:
    """A server's faults, by occasion."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self._faults = tuple(faults)
        self._counts: Counter[tuple[Service, Occasion]] = Counter()

    def begin(self, service: Service, occasion: Occasion) -> ActiveFaults:
        """Count the occasion, which begins now; return its faults."""
        self._counts[service, occasion] += 1
        counted = ("every", self._counts[service, occasion])
        known = [one for one in self._faults if (one.service, one.occasion) == (service, occasion)]
        return ActiveFaults([fault for fault in known if fault.on in counted])


@dataclass(eq=False)
class ActiveFaults:
    """The faults of one occasion; their times count from its start."""

    _faults: list[Fault]
    _began: Seconds = field(default_factory=clock.now, init=False)

    def find(self, kind: FaultKind) -> Fault | None:
        """Return the fault of this kind, if there is one."""
        return next((fault for fault in self._faults if fault.kind == kind), None)

    async def run(self, work: Awaitable[None]) -> None:
        """Run ``work``; raise ConnectionBroken when a drop or half_open fault is due."""
        ends = [fault for fault in self._faults if fault.kind in ("drop", "half_open")]
        end = min(ends, key=lambda fault: fault.after, default=None)
        limit = asyncio.timeout_at(None if end is None else self._began + end.after)
        try:
            async with limit:
                await work
        except TimeoutError:
            if end is None or not limit.expired():
                raise
            raise (ConnectionBroken if end.kind == "drop" else HalfOpen) from None

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
