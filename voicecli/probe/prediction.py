"""The mouth-to-ear to expect: what was measured, put together as a conversation puts it.  Pure.

A turn is drawn by taking one reading of each service at random, independently, and letting it pass
through the profile's waits: the detector's, the endpoint's, the commitment's, the hedge's.  20,000
turns give the distribution.  The same seed always: two predictions differ by what they are of.

What is left out: the program's own work (a few ms), the sound card where none was measured, and
what the services do otherwise when they are loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from voicecli.metrics.summary import NEEDED, Distribution, describe
from voicecli.pipeline.generation import LEAST, MOST
from voicecli.turns.end_of_turn import Ending
from voicecli.turns.policy import CommitWaits
from voicecli.units import Seconds

DRAWS = 20_000
SEED = 1

ROUNDS = 10
"""In which a delay that depends on itself settles."""

Times = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """What a profile waits for, and how.  Durations in seconds.

    draft: what is prepared before the commitment, with ``detect: vad``.
    endpointing: silence that ends an utterance for the service; None for never.
    finalize: how long the answer to Finalize is waited for.
    block: length of the pieces that the audio goes out in.
    hedge: without a token for so long a second request is sent; None for never, "auto" for as long
        as is usual, see ``hedge``.
    flush_each: whether the first clause is spoken as soon as it is there, or the whole reply.
    output: the loudspeaker's own latency.
    """

    detect: Literal["endpointing", "vad"] = "endpointing"
    draft: Literal["off", "llm", "llm+tts"] = "llm"
    endpointing: Seconds | None = 0.2
    finalize: Seconds = 0.35
    commit: CommitWaits = field(default_factory=CommitWaits)
    block: Seconds = 0.02
    hedge: Seconds | Literal["auto"] | None = None
    flush_each: bool = True
    output: Seconds = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A reading of the STT: the voice's end → noticed here; Finalize → final, None: no answer."""

    noticed: Seconds
    final: Seconds | None
    ending: Ending


@dataclass(frozen=True, slots=True, kw_only=True)
class Thought:
    """A reading of the LLM: request → first token; → first clause; request → last token."""

    ttft: Seconds
    clause: Seconds
    total: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """A reading of the TTS: flush → first audible sample arrived; → it sounds."""

    ttfa: Seconds
    playout: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The readings of all services.

    endpoints: end of the voice → the service's own endpoint.
    """

    heard: Sequence[Heard] = ()
    endpoints: Sequence[Seconds] = ()
    thought: Sequence[Thought] = ()
    spoken: Sequence[Spoken] = ()

    def count(self, waits: Waits) -> int:
        """Readings of the service that has the fewest, of those that ``waits`` needs."""
        stt = self.heard if waits.detect == "vad" else self.endpoints
        return min(len(stt), len(self.thought), len(self.spoken))


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What to expect.

    spread: of mouth-to-ear; n is the number of readings it rests on, and P95 is withheld as ever.
    stages: what it consists of on average; means add up, percentiles do not.
    """

    spread: Distribution
    mean: Seconds
    stages: Mapping[str, Seconds]


def predicted(measured: Measured, waits: Waits) -> Prediction | None:
    """The mouth-to-ear to expect under ``waits``; None where a service was not measured."""
    if not (count := measured.count(waits)):
        return None
    turns = drawn(measured, waits)
    stages = {name: float(took.mean()) for name, took in turns.items()}
    total = np.sum(list(turns.values()), axis=0)
    whole = describe(total.tolist())
    return Prediction(
        spread=Distribution(
            n=count,
            min=whole.min,
            p50=whole.p50,
            p90=whole.p90,
            p95=whole.p95 if count >= NEEDED["p95"] else None,
            p99=whole.p99 if count >= NEEDED["p99"] else None,
            max=whole.max,
        ),
        mean=float(total.mean()),
        stages=stages,
    )


def drawn(measured: Measured, waits: Waits) -> dict[str, Times]:
    """The stages of many turns, which sum to their mouth-to-ear; see ``milestones.STAGES``."""
    dice = np.random.default_rng(SEED)
    text, commit = _ended(measured, waits, dice)
    drafted = waits.detect == "vad" and waits.draft != "off"
    request = text if drafted else commit
    token, clause = _thought(measured.thought, waits, dice)
    ready = request + token + clause
    which = dice.integers(len(measured.spoken), size=DRAWS)
    ttfa = np.array([one.ttfa for one in measured.spoken])[which]
    playout = np.array([one.playout for one in measured.spoken])[which] + waits.output
    early = drafted and waits.draft == "llm+tts"
    audible = np.maximum(commit, ready + ttfa) if early else np.maximum(commit, ready) + ttfa
    return {
        "stt.ttfs": text,
        "turn.commit": np.maximum(commit - ready, 0) if drafted else commit - text,
        "llm.ttft": token,
        "llm.clause": clause,
        "tts.ttfa": audible - np.maximum(commit, ready),
        "playout": playout,
    }


def _ended(measured: Measured, waits: Waits, dice: np.random.Generator) -> tuple[Times, Times]:
    """End of the voice → the final text in hand; → the turn is committed."""
    if waits.detect == "endpointing":
        text = dice.choice(np.array(measured.endpoints), DRAWS)
        return text, text
    which = dice.integers(len(measured.heard), size=DRAWS)
    noticed = np.array([one.noticed for one in measured.heard])[which]
    answers = [waits.finalize if one.final is None else one.final for one in measured.heard]
    text = noticed + np.minimum(np.array(answers)[which], waits.finalize)
    if measured.endpoints and waits.endpointing is not None:
        # The service has ended the utterance itself before it was asked: its final comes first.
        # It is asked before it is sent the block that the detector noticed the end in.
        endpoint = dice.choice(np.array(measured.endpoints), DRAWS)
        first = (noticed - waits.block > waits.endpointing) & (endpoint > noticed)
        text = np.where(first, np.minimum(endpoint, noticed + waits.finalize), text)
    wait = np.array([getattr(waits.commit, one.ending) for one in measured.heard])[which]
    return text, np.maximum(text, wait)


def _thought(
    thought: Sequence[Thought], waits: Waits, dice: np.random.Generator
) -> tuple[Times, Times]:
    """Request → first token, a hedge included; → what is to be spoken first."""
    ttft = np.array([one.ttft for one in thought])
    rest = np.array([one.clause if waits.flush_each else one.total - one.ttft for one in thought])
    first = dice.integers(len(thought), size=DRAWS)
    if waits.hedge is None:
        return ttft[first], rest[first]
    second = dice.integers(len(thought), size=DRAWS)
    delay = waits.hedge
    if delay == "auto":
        delay = _usual(ttft[first], ttft[second])
    wins = delay + ttft[second] < ttft[first]
    token = np.where(wins, delay + ttft[second], ttft[first])
    return token, np.where(wins, rest[second], rest[first])


def _usual(first: Times, second: Times) -> Seconds:
    """The delay that ``hedge.HedgeDelay`` settles at: it learns from the requests that won."""
    delay = LEAST
    for _ in range(ROUNDS):
        won = np.where(delay + second < first, second, first)
        delay = min(max(float(np.percentile(won, 90)), LEAST), MOST)
    return delay
