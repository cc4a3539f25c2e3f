"""Part a: how long the user waits, and how often they are cut off, by strategy.  Virtual time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tests.bench.material import FIXED_SAYS, SAYS, WHOLE, hears, sentences
from tests.bench.table import table, verdict
from tests.bench.user import Said, Sentence, User
from tests.conversing import hold, profile
from voicecli.audio import Seconds
from voicecli.ledger import Ledger, ledger
from voicecli.metrics import Turn, turns
from voicecli.percentiles import Spread, spread
from voicecli.profile import Profile
from voicecli.standin.script import Latency, LlmScript, Script, SttScript, TtsScript

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


@dataclass
class Result:
    """What became of a condition's sentences.

    waits: mouth-to-ear of those that nobody talked over, in seconds, by the user's own clock.
    """

    said: list[Said] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    ledgers: list[Ledger] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def waits(self) -> list[Seconds]:
        return [one.answered - one.end for one in self.said if one.answered and not one.talked_over]

    @property
    def spread(self) -> Spread:
        return spread(self.waits)

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
    found = turns(held.timeline)
    result.said += user.said
    result.turns += found
    result.ledgers.append(ledger(held.timeline, found))
    if held.error is not None:
        result.errors.append(repr(held.error))


HEAD = (
    "ms", "n", "P50", "P95", "P99", "cut %", "heard %", "drafts", "dropped", "LLM calls", "hedges",
)  # fmt: skip


def row(name: str, result: Result) -> list[object]:
    """A line of the table."""
    of = result.spread
    over = sum(one.talked_over for one in result.paused)
    return [
        name,
        of.n,
        *(_ms(one) for one in (of.p50, of.p95, of.p99)),
        100 * result.cut_rate,
        100 * over / max(1, len(result.paused)),
        result.total("drafts"),
        result.total("drafts_discarded"),
        result.total("llm_requests"),
        result.total("hedges"),
    ]


def _ms(value: Seconds | None) -> float | None:
    return None if value is None else round(1000 * value, 1)


def cut_line(one: Said) -> str:
    """A sentence that was cut: where, after how long, and by which rule."""
    words = " | ".join(one.sentence.parts)
    pauses = ", ".join(f"{round(1000 * pause)}" for pause in one.sentence.pauses)
    rules = ", ".join(commit.reason for commit in one.commits)
    heard = "the agent was heard" if one.talked_over else "taken back unheard"
    return f"    {words}   (pauses {pauses} ms; {rules}; {heard})"


def run() -> dict[str, Any]:
    """Print the tables; the numbers, for bench.json."""
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        names = [one.name for one in CONDITIONS]
        results = dict(zip(names, processes.map(tried, CONDITIONS), strict=True))
    n = SESSIONS * SENTENCES
    print(
        f"a. {n} sentences, half of them with pauses of 0.3 to 0.6 s; TTFT 460/1100 ms, 2 % stalls"
    )
    print("   of 2 to 8 s; TTS 313/420 ms; Finalize 50 ms. Waits after what nobody talked over.")
    print(table(HEAD, [row(name, result) for name, result in results.items()]))
    for name, result in results.items():
        assert not result.errors, (name, result.errors)
    for name, result in results.items():
        if name.startswith(("vad 450", "vad 700, draft llm, ")):
            print(
                f"  sentences cut by {name}:",
                *([cut_line(one) for one in result.cut] or ["    none"]),
                sep="\n",
            )
    with_, without = results["vad 700, draft llm, hedge"], results["vad 700, draft off, hedge"]
    p50, p95, p99 = (_ms(value) or 0.0 for value in _p(with_))
    base = _ms(_p(without)[0]) or 1.0
    usual, endpointing = results["vad 450/700/1200, draft llm, hedge"], results["endpointing 200"]
    judged = [
        (f"P50 {p50:.0f} ms <= 1250", p50 <= 1250),
        (f"P95 {p95:.0f} ms <= 2000", p95 <= 2000),
        (f"P99 {p99:.0f} ms <= 2500, with the hedge", p99 <= 2500),
        (
            f"P50 {100 * (1 - p50 / base):.0f} % below that without drafts, >= 25",
            p50 <= 0.75 * base,
        ),
        *(
            (
                f"{name}: {100 * one.cut_rate:.1f} % cut, at most a quarter of "
                f"{100 * endpointing.cut_rate:.1f} %",
                one.cut_rate <= endpointing.cut_rate / 4,
            )
            for name, one in (("vad 700", with_), ("vad 450/700/1200", usual))
        ),
    ]
    fixed_results = {one.name: tried_fixed(one) for one in FIXED}
    sequential = 200 + 100 + 200 + 13 * 15 + 120
    print("\n   Fixed latencies: final 100 ms after endpointing, 50 after Finalize; TTFT 200, 15 a")
    print(
        f"   token; TTFB 120; whole sentences. One after the other, by sentences: {sequential} ms."
    )
    print(table(HEAD[:4], [row(name, one)[:4] for name, one in fixed_results.items()]))
    p50, p95, _ = (_ms(value) or 0.0 for value in _p(fixed_results[FIXED[-1].name]))
    judged += [
        (f"fixed: P50 {p50:.0f} ms <= 640", p50 <= 640),
        (f"fixed: P95 {p95:.0f} ms <= 690", p95 <= 690),
    ]
    for what, met in judged:
        print(verdict(what, met))
    return {
        "log_normal": {name: dict(zip(HEAD[1:], row(name, one)[1:], strict=True))
                       for name, one in results.items()},
        "cut": {name: [cut_line(said).strip() for said in one.cut] for name, one in results.items()
                if name.startswith("vad")},
        "fixed": {name: dict(zip(HEAD[1:4], row(name, one)[1:4], strict=True))
                  for name, one in fixed_results.items()},
        "judged": [{"what": what, "met": met} for what, met in judged],
    }  # fmt: skip


FIXED = (
    Condition("classic", (NO_HEDGE, ENDPOINTING), base="classic"),
    Condition("endpointing 200", (ENDPOINTING,)),
    Condition("vad, draft off", ("turn.detect=vad", "turn.draft=off")),
    Condition("vad, draft llm", ("turn.detect=vad", "turn.draft=llm")),
)


def _p(result: Result) -> tuple[Seconds | None, Seconds | None, Seconds | None]:
    return result.spread.p50, result.spread.p95, result.spread.p99
