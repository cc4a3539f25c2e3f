"""Sweeps settings: how often each cuts users off against how long it makes them wait.

The definitions are eot-bench's: the cut-off rate is the share of the pauses within turns in which
the turn was committed, the latency the mean silence from the end of a turn to its commitment, and
the operating points read one off at a limit of the other.  Mouth-to-ear is what the user hears of
it.  The line to beat is a plain timer, which waits the same after whatever was said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import inf
from typing import Any

from voicecli.corpus.tally import CorpusTally, Tally
from voicecli.errors import UsageError
from voicecli.metrics.interaction import MIN_EVENTS
from voicecli.metrics.stages import MOUTH_TO_EAR
from voicecli.profile import Profile
from voicecli.report.format import to_ms
from voicecli.report.json_result import encode_distribution
from voicecli.units import Seconds, ms

TIMER_WAITS: Sequence[Seconds] = (0.3, 0.6, 1.0, 1.6)
"""Of the plain timers; eot-bench's own timer has 5 % cut-offs at 1.6 s, and 10 % at 1.0 s."""

RATES = (0.05, 0.10)
"""Cut-off rates at which the latency is read off."""

LATENCIES: Sequence[Seconds] = (0.3, 0.6)
"""Latencies at which the cut-off rate is read off."""

_DECIDING = ("turn.", "stt.endpointing_ms", "stt.utterance_end_ms", "audio.hangover_ms")
"""Settings that decide when a turn ends; only a sweep over those is compared with timers."""


# ── the settings ─────────────────────────────────────────────────────────────


def parse_sweeps(texts: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the overrides of each setting that ``KEY=A,B,C`` stand for: of several, the product.

    Raises UsageError.
    """
    swept = [_parse_sweep(text) for text in texts]
    if len(keys := {values[0].partition("=")[0] for values in swept}) < len(swept):
        raise UsageError(
            f"--sweep has {', '.join(sorted(keys))} twice", hint="Give all values in one --sweep."
        )
    return [tuple(setting) for setting in product(*swept)]


def _parse_sweep(text: str) -> list[str]:
    key, equals, values = text.partition("=")
    found = list(dict.fromkeys(one.strip() for one in _split(values)))
    if not equals or "." not in key or "" in found:
        raise UsageError(
            f"--sweep {text} is not of the form SECTION.KEY=A,B,C",
            hint="For example turn.commit_ms.complete=250,350,450.",
        )
    return [f"{key.strip()}={value}" for value in found]


def _split(values: str) -> list[str]:
    """Split at the commas that are not within brackets or quotes."""
    parts, depth, quote = [""], 0, ""
    for character in values:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in "[{":
            depth += 1
        elif character in "]}":
            depth -= 1
        elif character == "," and not depth:
            parts.append("")
            continue
        parts[-1] += character
    return parts


def list_timers(swept: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return the overrides of the timers that a sweep is compared with; none where it makes no
    sense."""
    keys = {override.partition("=")[0] for setting in swept for override in setting}
    if not any(key.startswith(_DECIDING) for key in keys):
        return []
    return [_make_timer(wait) for wait in TIMER_WAITS]


def _make_timer(wait: Seconds) -> tuple[str, ...]:
    """Wait the same after whatever was said, however it sounded."""
    waits = ", ".join(f"{name}: {ms(wait):.0f}" for name in ("complete", "default", "incomplete"))
    return ("turn.detect=vad", "turn.end_model=off", f"turn.commit_ms={{{waits}}}")


_TIMERS = {_make_timer(wait): wait for wait in TIMER_WAITS}


def name_setting(profile: str, overrides: Sequence[str]) -> str:
    """Name what a sweep changes in a profile; the profile itself if it changes nothing."""
    if (wait := _TIMERS.get(tuple(overrides))) is not None:
        return f"timer of {ms(wait):.0f} ms"
    return " ".join(overrides) or profile


def check_sweep(profile: Profile, overrides: Sequence[str]) -> None:
    """Raise UsageError if what is swept does not matter in ``profile``."""
    if profile.turn.detect != "vad":
        for override in overrides:
            if override.startswith("turn.commit_ms"):
                key = override.partition("=")[0]
                raise UsageError(
                    f"{key} matters only with turn.detect: vad, and this profile has "
                    f"{profile.turn.detect}",
                    hint="Add --set turn.detect=vad.",
                )


# ── the result ───────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPoint:
    """One setting, and what it came to.

    name: for people; timer: whether it is a plain timer.
    cutoffs, pauses: events behind ``rate``, which is None where they are too few.
    latency_ms: mean silence from the end of a turn to its commitment; turns: of how many.
    mouth_to_ear: its distribution, as in a result.
    drafts, discarded: that were prepared, and of these, not spoken.
    discarded_tokens, discarded_characters: of the LLM and of the TTS, per turn that was answered.
    discarded_cost: in US dollars per such turn; None where prices are not known.
    front: whether no other setting has both fewer cut-offs and a shorter mouth-to-ear.
    """

    name: str
    overrides: tuple[str, ...]
    timer: bool
    cutoffs: int
    pauses: int
    rate: float | None
    latency_ms: float | None
    turns: int
    mouth_to_ear: Mapping[str, Any]
    drafts: int
    discarded: int
    discarded_tokens: float | None
    discarded_characters: float | None
    discarded_cost: float | None
    front: bool = False
    recommended: bool = False

    @property
    def wait_ms(self) -> float | None:
        """Median mouth-to-ear."""
        wait: float | None = self.mouth_to_ear["p50_ms"]
        return wait


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """What is reached at a limit; None: no setting is within it.

    name: the limit; is_rate: whether ``value`` is a share, not milliseconds.
    """

    name: str
    is_rate: bool
    setting: str | None = None
    value: float | None = None
    mouth_to_ear_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What the settings of one profile came to.

    events: what the cut-off rate is a share of.
    operating, timer: the operating points of the settings, and of the plain timers.
    """

    profile: str
    events: str
    points: tuple[SweepPoint, ...]
    operating: tuple[OperatingPoint, ...]
    timer: tuple[OperatingPoint, ...]

    @property
    def recommended(self) -> SweepPoint | None:
        """The setting to use; None where there are too few events to say."""
        return next((point for point in self.points if point.recommended), None)


def measure_sweeps(tally: CorpusTally) -> list[Sweep]:
    """Measure the sweep of each profile; none where nothing was swept."""
    profiles: dict[str, list[SweepPoint]] = {}
    swept = {tally.settings[name][0] for name in tally.variants if tally.settings[name][1]}
    for name, one in tally.variants.items():
        profile, overrides = tally.settings[name]
        if profile in swept:
            profiles.setdefault(profile, []).append(_measure_point(profile, overrides, one))
    labelled = tally.whole.interaction.labelled
    return [_judge_points(profile, points, labelled) for profile, points in profiles.items()]


def _measure_point(profile: str, overrides: tuple[str, ...], tally: Tally) -> SweepPoint:
    usage, replies = tally.usage, tally.usage.replied
    cutoffs, pauses = tally.count_cutoffs()
    latency = tally.mean_commit_wait()

    def per_reply(total: float | None) -> float | None:
        return round(total / replies, 6) if replies and total is not None else None

    return SweepPoint(
        name=name_setting(profile, overrides),
        overrides=overrides,
        timer=overrides in _TIMERS,
        cutoffs=cutoffs,
        pauses=pauses,
        rate=cutoffs / pauses if pauses >= MIN_EVENTS else None,
        latency_ms=to_ms(latency),
        turns=usage.turns,
        mouth_to_ear=encode_distribution(tally.summarize().distributions[MOUTH_TO_EAR.name]),
        drafts=usage.drafts,
        discarded=usage.drafts_discarded,
        discarded_tokens=per_reply(usage.discarded_tokens + usage.discarded_prompt_tokens),
        discarded_characters=per_reply(usage.discarded_characters),
        discarded_cost=per_reply(tally.cost.discarded),
    )


def _judge_points(profile: str, points: Sequence[SweepPoint], labelled: bool) -> Sweep:
    ours = [one for one in points if not one.timer]
    front = find_front(ours)
    best = _recommend(front)
    return Sweep(
        profile=profile,
        events="labelled pauses" if labelled else "turns",
        points=tuple(replace(one, front=one in front, recommended=one is best) for one in points),
        operating=_find_operating_points(ours),
        timer=_find_operating_points([one for one in points if one.timer]),
    )


def find_front(points: Sequence[SweepPoint]) -> list[SweepPoint]:
    """Return the points that no other one beats in one respect and equals in the other."""

    places = [
        (one.wait_ms, one.rate, one)
        for one in points
        if one.rate is not None and one.wait_ms is not None
    ]
    return [
        one
        for wait, rate, one in places
        if not any(w <= wait and r <= rate and (w, r) != (wait, rate) for w, r, _ in places)
    ]


def _recommend(front: Sequence[SweepPoint]) -> SweepPoint | None:
    """Choose the fastest setting with at most 5 % cut-offs, else 10 %, else the fewest of all."""
    for limit in RATES:
        if within := [one for one in front if _or_inf(one.rate) <= limit]:
            return min(within, key=lambda one: (_or_inf(one.wait_ms), one.discarded))
    return min(front, key=lambda one: _or_inf(one.rate), default=None)


def _find_operating_points(points: Sequence[SweepPoint]) -> tuple[OperatingPoint, ...]:
    """Read off the lowest latency at each cut-off rate, and the lowest rate at each latency."""
    known = [
        (one.rate, one.latency_ms, one)
        for one in points
        if one.rate is not None and one.latency_ms is not None
    ]
    found = []
    for limit in RATES:
        name = f"latency at {100 * limit:.0f} % cut off"
        within = [(latency, one) for rate, latency, one in known if rate <= limit]
        found.append(_read_off(OperatingPoint(name=name, is_rate=False), within))
    for wait in LATENCIES:
        name = f"cut off at {ms(wait):.0f} ms latency"
        within = [(rate, one) for rate, latency, one in known if latency <= ms(wait)]
        found.append(_read_off(OperatingPoint(name=name, is_rate=True), within))
    return tuple(found)


def _read_off(point: OperatingPoint, within: Sequence[tuple[float, SweepPoint]]) -> OperatingPoint:
    """Complete ``point`` with the least of the settings ``within`` its limit."""
    if not within:
        return point
    value, best = min(within, key=lambda pair: pair[0])
    return replace(point, setting=best.name, value=value, mouth_to_ear_ms=best.wait_ms)


def _or_inf(value: float | None) -> float:
    return inf if value is None else value
