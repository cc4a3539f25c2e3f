"""Predicts mouth-to-ear from the measurements of the services, and finds what would help.  Pure.

A turn is simulated by drawing one sample of each service at random, independently, and passing it
through the profile's waits: the detector, the endpoint, the commit, the hedge.  20,000 turns make
the distribution.  The seed is fixed, so that two predictions differ only by what they are made of.

Left out: the program's own work (a few ms), the sound card unless it was measured, and how the
services change under load.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from voicecli.events import Ending
from voicecli.metrics.stages import BUDGETED
from voicecli.metrics.summary import MIN_COUNT, ROUNDING, Budgets, Distribution, Summary, describe
from voicecli.metrics.thresholds import Threshold, Verdict, evaluate
from voicecli.metrics.usage import Cost, estimate_cost
from voicecli.pipeline.generation import MAX_HEDGE_DELAY, MIN_HEDGE_DELAY
from voicecli.turns.draft import SPEECH_LEAD
from voicecli.units import Seconds, ms

if TYPE_CHECKING:
    from voicecli.probe.results import ProbeResults
    from voicecli.profile import Profile

DRAWS = 20_000
SEED = 1

HEDGE_ROUNDS = 10
"""After which the learned hedge delay is stable."""

MIN_SAVING: Seconds = 0.010
"""A change that saves less is not worth a sentence."""

Times = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measurements:
    """What was measured of warm services: an array per metric, in seconds, see ``results``.

    final: NaN where Finalize was not answered.
    endings: how the words of each sample of the STT end.
    interim: from the end of the speech to an interim with all its words; NaN where none came.
    eager: from the end of the speech until the STT expected what it found at ``endpoint``; NaN
        where it did not.
    output: the loudspeaker's own latency.
    """

    noticed: Times
    final: Times
    endings: Sequence[Ending]
    endpoint: Times
    interim: Times
    eager: Times
    ttft: Times
    clause: Times
    total: Times
    ttfa: Times
    playout: Times
    output: Seconds = 0.0

    def count(self, profile: Profile) -> int:
        """The number of samples of the service with the fewest, of those that ``profile`` uses."""
        stt = self.noticed if profile.turn.detect == "vad" else self.endpoint
        return min(len(stt), len(self.ttft), len(self.ttfa))


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The predicted mouth-to-ear.

    distribution: its ``n`` is the number of samples behind it.
    stages: their means, which add up to ``mean``; percentiles would not.
    """

    distribution: Distribution
    mean: Seconds
    stages: Mapping[str, Seconds]


def predict(measurements: Measurements, profile: Profile) -> Prediction | None:
    """Predict mouth-to-ear with ``profile``; None if a service was not measured."""
    if not (count := measurements.count(profile)):
        return None
    turns = simulate(measurements, profile)
    total = np.sum(list(turns.values()), axis=0)
    withheld = {name: None for name, least in MIN_COUNT.items() if count < least}
    return Prediction(
        distribution=replace(describe(total.tolist()), n=count, **withheld),
        mean=float(total.mean()),
        stages={name: float(took.mean()) for name, took in turns.items()},
    )


def simulate(measurements: Measurements, profile: Profile) -> dict[str, Times]:
    """The stages of DRAWS turns; each turn's stages sum to its mouth-to-ear."""
    rng = np.random.default_rng(SEED)
    words, confirmed, commit = _simulate_end_of_turn(measurements, profile, rng)
    drafted = profile.turn.detect != "endpointing" and profile.turn.draft != "off"
    request = words if drafted else commit
    token, clause = _simulate_llm(measurements, profile, rng)
    ready = request + token + clause
    which = rng.integers(len(measurements.ttfa), size=DRAWS)
    ttfa = measurements.ttfa[which]
    playout = measurements.playout[which] + measurements.output
    early = drafted and profile.turn.draft == "llm+tts"
    may_speak = confirmed if early else commit
    audible = np.maximum(commit, np.maximum(may_speak, ready) + ttfa)
    return {
        "stt.ttfs": words,
        "turn.commit": np.maximum(commit - ready, 0) if drafted else commit - words,
        "llm.ttft": token,
        "llm.clause": clause,
        "tts.ttfa": audible - np.maximum(commit, ready),
        "playout": playout,
    }


def _simulate_end_of_turn(
    measurements: Measurements, profile: Profile, rng: np.random.Generator
) -> tuple[Times, Times, Times]:
    """End of the speech → words that are drafted on; → speech of the draft prepared; → commit."""
    if profile.turn.detect != "vad":
        which = rng.integers(len(measurements.endpoint), size=DRAWS)
        end = measurements.endpoint[which]
        if profile.turn.detect == "endpointing" or profile.turn.draft == "off":
            return end, end, end
        expected = np.fmin(measurements.eager[which], end)  # NaN: not expected
        return expected, expected, end
    finalize = profile.stt.finalize_timeout
    which = rng.integers(len(measurements.noticed), size=DRAWS)
    noticed = measurements.noticed[which]
    text = noticed + np.fmin(measurements.final[which], finalize)  # NaN: the timeout
    if len(measurements.endpoint) and profile.stt.silence_limit is not None:
        # The service may end the segment before Finalize, and its final comes first.  Finalize is
        # sent before the block in which the detector noticed the end.
        endpoint = rng.choice(measurements.endpoint, DRAWS)
        first = (noticed - profile.audio.block > profile.stt.silence_limit) & (endpoint > noticed)
        text = np.where(first, np.minimum(endpoint, noticed + finalize), text)
    waits = np.array([getattr(profile.turn.commit, ending) for ending in measurements.endings])
    words = text
    if len(measurements.interim):
        # The detector notices a pause as late as it notices the end; NaN: not drafted on.
        pauses = np.array([profile.turn.pauses.get(one, np.nan) for one in measurements.endings])
        paused = noticed - profile.audio.hangover + pauses[which]
        words = np.fmin(text, np.maximum(paused, rng.choice(measurements.interim, DRAWS)))
    commit = np.maximum(text, waits[which])
    # The speech of a draft is prepared once the final text has confirmed it.
    return words, np.maximum(text, commit - SPEECH_LEAD), commit


def _simulate_llm(
    measurements: Measurements, profile: Profile, rng: np.random.Generator
) -> tuple[Times, Times]:
    """Request → first token, a hedge included; → what is to be spoken first."""
    ttft = measurements.ttft
    rest = measurements.clause if profile.tts.flush == "clauses" else measurements.total - ttft
    first = rng.integers(len(ttft), size=DRAWS)
    if (delay := profile.llm.hedge) is None:
        return ttft[first], rest[first]
    second = rng.integers(len(ttft), size=DRAWS)
    if delay == "auto":
        delay = _learn_hedge_delay(ttft[first], ttft[second])
    wins = delay + ttft[second] < ttft[first]
    token = np.where(wins, delay + ttft[second], ttft[first])
    return token, np.where(wins, rest[second], rest[first])


def _learn_hedge_delay(first: Times, second: Times) -> Seconds:
    """The delay at which ``HedgeDelay`` settles: it learns from the requests that won."""
    delay = MIN_HEDGE_DELAY
    for _ in range(HEDGE_ROUNDS):
        won = np.where(delay + second < first, second, first)
        delay = float(np.clip(np.percentile(won, 90), MIN_HEDGE_DELAY, MAX_HEDGE_DELAY))
    return delay


# ── what would help ──────────────────────────────────────────────────────────
#
# A change is a setting of the profile, or a service that keeps its budget.  Shorter endpointing and
# shorter waits before the commit are left out: they cut users off more often, which a probe cannot
# measure.


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """A change, its prediction, and how much it saves."""

    change: str
    prediction: Prediction
    saves: Seconds


def find_advice(measurements: Measurements, profile: Profile) -> list[Advice]:
    """All changes that save MIN_SAVING or more, the best first: by P95 if known, else by P50."""
    if (now := predict(measurements, profile)) is None:
        return []
    found = []
    for change, changed, other in _list_changes(measurements, profile):
        then = predict(changed, other)
        if then is not None and (saves := _headline(now) - _headline(then)) >= MIN_SAVING:
            found.append(Advice(change=change, prediction=then, saves=saves))
    return sorted(found, key=lambda advice: -advice.saves)


def _headline(prediction: Prediction) -> Seconds:
    distribution = prediction.distribution
    return distribution.p95 if distribution.p95 is not None else distribution.p50 or 0.0


def _list_changes(
    measurements: Measurements, profile: Profile
) -> Iterator[tuple[str, Measurements, Profile]]:
    """Each change in words, with the measurements and the profile after it."""
    turn, budgets, old = profile.turn, profile.budgets, measurements
    if turn.detect == "endpointing":
        yield "turn.detect: vad", old, replace(profile, turn=replace(turn, detect="vad"))
    elif turn.draft != "llm+tts":
        draft: Literal["llm", "llm+tts"] = "llm" if turn.draft == "off" else "llm+tts"
        yield f"turn.draft: {draft}", old, replace(profile, turn=replace(turn, draft=draft))
    if profile.llm.hedge is None:
        hedged = replace(profile, llm=replace(profile.llm, hedge="auto"))
        yield "llm.hedge_ms: auto", old, hedged
    if profile.tts.flush == "end":
        by_clause = replace(profile, tts=replace(profile.tts, flush="clauses"))
        yield "tts.flush: clauses", old, by_clause
    if (over := np.maximum(old.ttft - budgets.llm, 0.0)).any():
        llm = replace(old, ttft=old.ttft - over, total=old.total - over)
        yield _within_budget("an LLM", "llm.ttft", budgets.llm), llm, profile
    if (old.ttfa > budgets.tts).any():
        tts = replace(old, ttfa=np.minimum(old.ttfa, budgets.tts))
        yield _within_budget("a TTS", "tts.ttfa", budgets.tts), tts, profile
    rest = np.maximum(budgets.stt - old.noticed, 0.0)
    if (old.endpoint > budgets.stt).any() or not (old.final <= rest).all():
        endpoint = np.minimum(old.endpoint, budgets.stt)
        stt = replace(old, final=np.fmin(old.final, rest), endpoint=endpoint)
        yield _within_budget("an STT", "stt.ttfs", budgets.stt), stt, profile


def _within_budget(service: str, metric: str, budget: Seconds) -> str:
    return f"{service} that keeps its budget ({metric} {ms(budget):.0f} ms)"


# ── evaluation ───────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class BudgetCheck:
    """One line of the budget table."""

    name: str
    metric: str
    budget: Seconds
    p50: Seconds | None
    p95: Seconds | None

    @property
    def judged_by(self) -> str:
        """P95, or P50 while P95 is withheld."""
        return "P50" if self.p95 is None else "P95"

    @property
    def met(self) -> bool | None:
        """Whether the budget is kept; None if the metric was not measured."""
        value = self.p50 if self.p95 is None else self.p95
        return None if value is None else value - self.budget < ROUNDING


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What a run amounts to; best: the change that would help most, or None."""

    summary: Summary
    cost: Cost
    prediction: Prediction | None
    best: Advice | None
    budgets: Sequence[BudgetCheck]
    expectations: Sequence[Verdict]


def evaluate_results(
    results: ProbeResults, profile: Profile, thresholds: Sequence[Threshold] = ()
) -> Evaluation:
    """Predict mouth-to-ear, find the best advice, estimate the cost, check budgets, thresholds."""
    measurements = results.measurements()
    prediction = predict(measurements, profile)
    summary = results.summarize(prediction)
    return Evaluation(
        summary=summary,
        cost=estimate_cost(results.count_usage(), profile.find_prices()),
        prediction=prediction,
        best=next(iter(find_advice(measurements, profile)), None),
        budgets=list(_check_budgets(profile.budgets, summary)),
        expectations=[evaluate(one, summary) for one in thresholds],
    )


def _check_budgets(budgets: Budgets, summary: Summary) -> Iterator[BudgetCheck]:
    for name, metric in BUDGETED.items():
        found = summary.distributions.get(metric.name, Distribution())
        yield BudgetCheck(name, metric.name, getattr(budgets, name), found.p50, found.p95)
