"""Strategies of turn-taking, over the same scripted services and the same users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.bench.material import FIXED_SAYS, SAYS, WHOLE, choose_sentences, list_parts
from tests.bench.size import choose_size
from tests.bench.user import GAPS, Said, Sentence, User
from tests.support.conversations import converse, profile
from voicecli.metrics.summary import Distribution, describe
from voicecli.metrics.turns import Turn, measure_turns
from voicecli.metrics.usage import Prices, SessionUsage, count_usage, estimate_cost
from voicecli.profile import Profile
from voicecli.standin.script import Latency, LlmScript, Script, Speaks, SttScript, TtsScript
from voicecli.units import Seconds

SESSIONS = choose_size(28, 2)
SENTENCES = choose_size(16, 4)
"""Per session; the script counts turns by the history, which holds that many."""

GAP: Seconds = 0.25
"""Silence that separates two items of the script; shorter than the shortest pause."""


@dataclass(frozen=True)
class Condition:
    """A strategy: a profile and the settings that change it.

    name: as in the table.
    settings: changes to the profile ``base``.
    interim: seconds of audio between two interims.
    finalize: seconds from a Finalize to its answer.
    """

    name: str
    settings: tuple[str, ...] = ()
    base: str = "default"
    interim: Seconds = 0.2
    finalize: Seconds = 0.05

    def profile(self) -> Profile:
        sets = ("audio.vad=silero", *self.settings, "tts.sample_rate=24000", "limits.idle_s=60")
        return profile(*sets, name=self.base)


DEFAULT = "default"
NO_DRAFTS = "default, no drafts"
ENERGY = "default, energy detector"
ENDPOINTING = "endpointing 200"
FIXED_DEFAULT = "  Finalize 50 ms"

_ENDPOINTING = "turn.detect=endpointing"
_NO_HEDGE = "llm.hedge_ms=null"
CONDITIONS = (
    Condition("classic", (_NO_HEDGE, _ENDPOINTING), base="classic"),
    Condition(ENDPOINTING, (_NO_HEDGE, _ENDPOINTING)),
    Condition(NO_DRAFTS, ("turn.draft=off",)),
    Condition("default, drafts on finals", ("turn.draft_on=final",)),
    Condition("default, not hedged", (_NO_HEDGE,)),
    Condition(DEFAULT),
    Condition("  interims every second", interim=1.0),
    Condition(ENERGY, ("audio.vad=energy",)),
    Condition("flux-stt", base="flux-stt"),
    Condition("flux", base="flux"),
)
"""With log-normal latencies."""

FIXED = (
    Condition("classic", (_NO_HEDGE, _ENDPOINTING), base="classic", finalize=0.1),
    Condition(ENDPOINTING, (_ENDPOINTING,), finalize=0.1),
    Condition(NO_DRAFTS, ("turn.draft=off",), finalize=0.1),
    Condition("default, drafts on finals", ("turn.draft_on=final",), finalize=0.1),
    Condition(DEFAULT, finalize=0.1),
    Condition("  interims every second", interim=1.0, finalize=0.1),
    Condition(FIXED_DEFAULT),
    Condition("flux-stt", base="flux-stt"),
    Condition("flux", base="flux"),
)
"""With fixed latencies."""


@dataclass
class Result:
    """The outcome of a condition.

    waits: mouth-to-ear of the sentences that were not talked over, by the user's own clock.
    prices: of the profile's services, though stand-ins served.
    """

    prices: Prices = field(default_factory=Prices)
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

    def at(self, percentile: str) -> float:
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

    @property
    def halves(self) -> tuple[Result, Result]:
        """Split the sentences: what is chosen by one half is judged by the other."""
        middle = len(self.said) // 2
        return Result(said=self.said[:middle]), Result(said=self.said[middle:])

    def total(self, name: str) -> int:
        """Return the sum of a count over all sessions."""
        return sum(getattr(one, name) for one in self.usage)

    @property
    def discarded_cost(self) -> float:
        """Return what the discarded drafts would have cost, in US dollars."""
        return sum(estimate_cost(one, self.prices).discarded or 0.0 for one in self.usage)


def script_log_normal(condition: Condition, seed: int, said: Sequence[Sentence]) -> Script:
    """Return services with measured latencies: log-normal, with stalls."""
    return Script(
        seed=seed,
        stt=script_stt(condition, said),
        llm=LlmScript(ttft=Latency(0.46, 1.1, stall_share=0.02), says=SAYS),
        tts=TtsScript(ttfb=Latency(0.313, 0.42)),
    )


def script_fixed(
    condition: Condition, seed: int, said: Sequence[Sentence], speaks: Speaks
) -> Script:
    """Return services with fixed latencies."""
    return Script(
        seed=seed,
        stt=script_stt(condition, said),
        llm=LlmScript(ttft=Latency(0.2), token=Latency(0.015), says=FIXED_SAYS),
        tts=TtsScript(ttfb=Latency(0.12), speaks=speaks),
    )


def script_stt(condition: Condition, said: Sequence[Sentence]) -> SttScript:
    """Return the STT of all parts: what it hears is what was said."""
    return SttScript(
        final=Latency(0.1),
        finalize=Latency(condition.finalize),
        gap=GAP,
        interim=condition.interim,
        hears=list_parts(said),
    )


def run_condition(condition: Condition, sessions: int = SESSIONS) -> Result:
    """Run the condition over all sessions; each has its sentences, the same for all conditions."""
    settings = condition.profile()
    result = Result(settings.find_prices())
    for seed in range(sessions):
        said = choose_sentences(SENTENCES, seed)
        run_session(result, settings, script_log_normal(condition, seed, said), said, seed)
    return result


def run_fixed(condition: Condition, speaks: Speaks) -> Result:
    """Run the condition with fixed latencies, over complete sentences."""
    result = Result()
    for seed in range(3):
        said = [Sentence((text,)) for text in WHOLE]
        script = script_fixed(condition, seed, said, speaks)
        run_session(result, condition.profile(), script, said, seed)
    return result


def run_session(
    result: Result,
    settings: Profile,
    script: Script,
    said: list[Sentence],
    seed: int,
    *,
    gap: tuple[Seconds, Seconds] = GAPS,
) -> None:
    """Hold one conversation, and add its outcome to ``result``."""
    user = User(said, settings.audio.sample_rate, settings.audio.block, seed=seed, gap=gap)
    outcome = converse(settings, script, user, recorded=False, follow=user.note)
    found = measure_turns(outcome.timeline)
    result.said += user.said
    result.turns += found
    result.usage.append(count_usage(outcome.timeline, found))
    if outcome.error is not None:
        result.errors.append(repr(outcome.error))
