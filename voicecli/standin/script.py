"""What the scripted engines are to hear, say and do, and how fast."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from voicecli.standin.faults import Fault
from voicecli.units import Seconds

Z95 = 1.6449
"""The 95th percentile of the normal distribution, in standard deviations."""


@dataclass(frozen=True, slots=True)
class Latency:
    """How long something takes: always ``p50``, or log-normal if there is a ``p95``.

    stall_share: so often, from 0 to 1, a time out of ``stall`` (least, most) comes on top.
    """

    p50: Seconds
    p95: Seconds | None = None
    stall_share: float = 0.0
    stall: tuple[Seconds, Seconds] = (2.0, 8.0)

    def draw(self, dice: random.Random) -> Seconds:
        """One such time."""
        taken = self.p50
        if self.p95 is not None:
            taken *= math.exp(dice.gauss(0.0, math.log(self.p95 / self.p50) / Z95))
        if self.stall_share and dice.random() < self.stall_share:
            taken += dice.uniform(*self.stall)
        return taken


@dataclass(frozen=True, slots=True)
class SttScript:
    """How the STT hears.

    final: from the endpoint in the audio to the final.
    finalize: from Finalize to its answer.
    finalize_silence: whether a Finalize is answered when no voice is buffered.
    interim: an interim per so much audio.
    gap: so much silence ends what one item of ``hears`` is said in.
    hears: what is understood of one stretch of voice after the other, "" for nothing (a cough);
        used up, it starts again.
    """

    final: Latency = Latency(0.1)
    finalize: Latency = Latency(0.05)
    finalize_silence: bool = True
    interim: Seconds = 1.0
    gap: Seconds = 0.4
    hears: tuple[str, ...] = ("Hello.",)


@dataclass(frozen=True, slots=True)
class LlmScript:
    """How the LLM answers.

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
    char: how long one character takes to say.
    lead: silence before the first sound.
    """

    ttfb: Latency = Latency(0.12)
    speed: float = 4.0
    char: Seconds = 0.06
    lead: Seconds = 0.0


@dataclass(frozen=True, slots=True)
class Script:
    """All that the scripted engines need.

    seed: of the latencies that are drawn; each service has dice of its own.
    """

    seed: int = 1
    stt: SttScript = field(default_factory=SttScript)
    llm: LlmScript = field(default_factory=LlmScript)
    tts: TtsScript = field(default_factory=TtsScript)
    faults: tuple[Fault, ...] = ()
