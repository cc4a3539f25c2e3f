"""Ways to hold a conversation, tried over the same scripted services and the same users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from tests.bench.material import FIXED_SAYS, SAYS, WHOLE, hears, sentences
from tests.bench.user import Said, Sentence, User
from tests.support.conversations import hold, profile
from voicecli.metrics.summary import Distribution, describe
from voicecli.metrics.turns import Turn, measure_turns
from voicecli.metrics.usage import SessionUsage, count_usage
from voicecli.profile import Profile
from voicecli.standin.script import Latency, LlmScript, Script, SttScript, TtsScript
from voicecli.units import Seconds

SESSIONS = 14
SENTENCES = 16
"""Per session; the agent remembers 20 turns, by which the script counts."""

GAP: Seconds = 0.25
"""So much silence parts two stretches of the script: less than the shortest pause."""


@dataclass(frozen=True)
class Condition:
    """A way to hold the conversation.

    name: as in the table; settings: of the profile ``base``.
    """

    name: str
    settings: tuple[str, ...]
    base: str = "scripted"

    def profile(self) -> Profile:
        sets = (*self.settings, "tts.sample_rate=24000", "limits.idle_s=60")
        return profile(*sets, name=self.base)


VAD = ("turn.detect=vad", "turn.commit_ms.complete=700")
"""Committing at 0.7 s, whole sentence or not."""

ENDPOINTING = "turn.detect=endpointing"
NO_HEDGE = "llm.hedge_ms=null"

CONDITIONS = (
    Condition("classic", (NO_HEDGE, ENDPOINTING), base="classic"),
    Condition("endpointing 200", (NO_HEDGE, ENDPOINTING)),
    Condition("vad 700, draft off", (*VAD, "turn.draft=off", NO_HEDGE)),
    Condition("vad 700, draft off, hedge", (*VAD, "turn.draft=off")),
    Condition("vad 700, draft llm", (*VAD, "turn.draft=llm", NO_HEDGE)),
    Condition("vad 700, draft llm, hedge", (*VAD, "turn.draft=llm")),
    Condition("vad 700, draft llm+tts, hedge", (*VAD, "turn.draft=llm+tts")),
    Condition("vad 450/700/1200, draft llm, hedge", ("turn.detect=vad", "turn.draft=llm")),
    *(
        Condition(
            f"  the same, hangover {ms}",
            ("turn.detect=vad", "turn.draft=llm", f"audio.hangover_ms={ms}"),
        )
        for ms in (120, 150)
    ),
)


FIXED = (
    Condition("classic", (NO_HEDGE, ENDPOINTING), base="classic"),
    Condition("endpointing 200", (ENDPOINTING,)),
    Condition("vad, draft off", ("turn.detect=vad", "turn.draft=off")),
    Condition("vad, draft llm", ("turn.detect=vad", "turn.draft=llm")),
)


@dataclass
class Result:
    """What became of a condition's sentences.

    waits: mouth-to-ear of those that nobody talked over, in seconds, by the user's own clock.
    """

    said: list[Said] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    ledgers: list[SessionUsage] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def waits(self) -> list[Seconds]:
        return [one.answered - one.end for one in self.said if one.answered and not one.talked_over]

    @property
    def spread(self) -> Distribution:
        return describe(self.waits)

    def at(self, percentile: Literal["p50", "p95", "p99"]) -> float:
        """Milliseconds; infinite where there are too few to tell."""
        value: Seconds | None = getattr(self.spread, percentile)
        return float("inf") if value is None else 1000 * value

    @property
    def paused(self) -> list[Said]:
        """The sentences that had a pause."""
        return [one for one in self.said if one.sentence.pauses]

    @property
    def cut(self) -> list[Said]:
        return [one for one in self.paused if one.cut]

    @property
    def cut_rate(self) -> float:
        return len(self.cut) / max(1, len(self.paused))

    def total(self, name: str) -> int:
        """Of a count of the ledger."""
        return sum(getattr(one, name) for one in self.ledgers)


def log_normal(seed: int, said: Sequence[Sentence]) -> Script:
    """The services as they are measured to be."""
    return Script(
        seed=seed,
        stt=SttScript(
            final=Latency(0.1), finalize=Latency(0.05), gap=GAP, interim=0.2, hears=hears(said)
        ),
        llm=LlmScript(ttft=Latency(0.46, 1.1, stall_share=0.02), says=SAYS),
        tts=TtsScript(ttfb=Latency(0.313, 0.42)),
    )


def fixed(seed: int, said: Sequence[Sentence]) -> Script:
    """Services that always take the same time."""
    return Script(
        seed=seed,
        stt=SttScript(final=Latency(0.1), finalize=Latency(0.05), gap=GAP, hears=hears(said)),
        llm=LlmScript(ttft=Latency(0.2), token=Latency(0.015), says=FIXED_SAYS),
        tts=TtsScript(ttfb=Latency(0.12)),
    )


def tried(condition: Condition, sessions: int = SESSIONS) -> Result:
    """The condition over all sessions, each with sentences of its own, the same for every one."""
    result = Result()
    settings = condition.profile()
    for seed in range(sessions):
        said = sentences(SENTENCES, seed)
        _hold(result, settings, log_normal(seed, said), said, seed)
    return result


def tried_fixed(condition: Condition) -> Result:
    """The condition with fixed latencies, over complete sentences."""
    result = Result()
    for seed in range(3):
        said = [Sentence((text,)) for text in WHOLE]
        _hold(result, condition.profile(), fixed(seed, said), said, seed)
    return result


def _hold(
    result: Result, settings: Profile, script: Script, said: list[Sentence], seed: int
) -> None:
    user = User(said, settings.audio.sample_rate, settings.audio.block_ms / 1000, seed=seed)
    held = hold(settings, script, user, recorded=False, follow=user.note)
    found = measure_turns(held.timeline)
    result.said += user.said
    result.turns += found
    result.ledgers.append(count_usage(held.timeline, found))
    if held.error is not None:
        result.errors.append(repr(held.error))
