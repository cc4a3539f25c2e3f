"""Strategies of turn-taking, over the same scripted services and the same users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from tests.bench.material import FIXED_SAYS, SAYS, WHOLE, choose_sentences, list_parts
from tests.bench.user import Said, Sentence, User
from tests.support.conversations import converse, profile
from voicecli.metrics.summary import Distribution, describe
from voicecli.metrics.turns import Turn, measure_turns
from voicecli.metrics.usage import SessionUsage, count_usage
from voicecli.profile import Profile
from voicecli.standin.script import Latency, LlmScript, Script, SttScript, TtsScript
from voicecli.units import Seconds

SESSIONS = 14
SENTENCES = 16
"""Per session; the script counts turns by the history, which holds 20."""

GAP: Seconds = 0.25
"""Silence that separates two items of the script; shorter than the shortest pause."""


@dataclass(frozen=True)
class Condition:
    """A strategy: a profile and the settings that change it.

    name: as in the table.
    settings: changes to the profile ``base``.
    """

    name: str
    settings: tuple[str, ...]
    base: str = "scripted"

    def profile(self) -> Profile:
        sets = (*self.settings, "tts.sample_rate=24000", "limits.idle_s=60")
        return profile(*sets, name=self.base)


VAD = ("turn.detect=vad", "turn.commit_ms.complete=700")
"""Commits after 0.7 s, whether the sentence is complete or not."""

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
    """The outcome of a condition.

    waits: mouth-to-ear of the sentences that were not talked over, by the user's own clock.
    """

    said: list[Said] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    usage: list[SessionUsage] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def waits(self) -> list[Seconds]:
        return [one.answered - one.end for one in self.said if one.answered and not one.talked_over]

    @property
    def spread(self) -> Distribution:
        return describe(self.waits)

    def at(self, percentile: Literal["p50", "p95", "p99"]) -> float:
        """Return milliseconds; infinite if there are too few waits."""
        value: Seconds | None = getattr(self.spread, percentile)
        return float("inf") if value is None else 1000 * value

    @property
    def paused(self) -> list[Said]:
        """Return the sentences with a pause."""
        return [one for one in self.said if one.sentence.pauses]

    @property
    def cut(self) -> list[Said]:
        return [one for one in self.paused if one.cut]

    @property
    def cut_rate(self) -> float:
        return len(self.cut) / max(1, len(self.paused))

    def total(self, name: str) -> int:
        """Return the sum of a count over all sessions."""
        return sum(getattr(one, name) for one in self.usage)


def script_log_normal(seed: int, said: Sequence[Sentence]) -> Script:
    """Return services with measured latencies: log-normal, with stalls."""
    return Script(
        seed=seed,
        stt=SttScript(
            final=Latency(0.1), finalize=Latency(0.05), gap=GAP, interim=0.2, hears=list_parts(said)
        ),
        llm=LlmScript(ttft=Latency(0.46, 1.1, stall_share=0.02), says=SAYS),
        tts=TtsScript(ttfb=Latency(0.313, 0.42)),
    )


def script_fixed(seed: int, said: Sequence[Sentence]) -> Script:
    """Return services with fixed latencies."""
    return Script(
        seed=seed,
        stt=SttScript(final=Latency(0.1), finalize=Latency(0.05), gap=GAP, hears=list_parts(said)),
        llm=LlmScript(ttft=Latency(0.2), token=Latency(0.015), says=FIXED_SAYS),
        tts=TtsScript(ttfb=Latency(0.12)),
    )


def run_condition(condition: Condition, sessions: int = SESSIONS) -> Result:
    """Run the condition over all sessions; each has its sentences, the same for all conditions."""
    result = Result()
    settings = condition.profile()
    for seed in range(sessions):
        said = choose_sentences(SENTENCES, seed)
        _run_session(result, settings, script_log_normal(seed, said), said, seed)
    return result


def run_fixed(condition: Condition) -> Result:
    """Run the condition with fixed latencies, over complete sentences."""
    result = Result()
    for seed in range(3):
        said = [Sentence((text,)) for text in WHOLE]
        _run_session(result, condition.profile(), script_fixed(seed, said), said, seed)
    return result


def _run_session(
    result: Result, settings: Profile, script: Script, said: list[Sentence], seed: int
) -> None:
    user = User(said, settings.audio.sample_rate, settings.audio.block, seed=seed)
    outcome = converse(settings, script, user, recorded=False, follow=user.note)
    found = measure_turns(outcome.timeline)
    result.said += user.said
    result.turns += found
    result.usage.append(count_usage(outcome.timeline, found))
    if outcome.error is not None:
        result.errors.append(repr(outcome.error))
