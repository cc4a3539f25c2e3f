"""Composes the page of a corpus: what it came to as a whole, and every unit.

Results are read twice, one at a time: once to find those that matter most, once to show them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from htpy import Element, Node, fragment, h3, p, small

from voicecli.corpus.sweep import RATES, Sweep, measure_sweeps, name_setting
from voicecli.corpus.tables import (
    LEGEND,
    Table,
    format_recommendation,
    format_remarks,
    list_sweep_tables,
    list_tables,
)
from voicecli.corpus.tally import CorpusTally
from voicecli.corpus.unit import Unit, UnitResult
from voicecli.corpus.unit_view import UnitView
from voicecli.corpus.verdict import Check
from voicecli.metrics.interaction import INTERACTION_METRICS, decode_interaction
from voicecli.metrics.stages import MOUTH_TO_EAR, STAGES
from voicecli.metrics.summary import METRICS, Budgets
from voicecli.metrics.usage import COUNTS
from voicecli.report.format import format_count, format_ms
from voicecli.report.html.ecdf import VARIANTS, Line, Sample, draw_ecdf
from voicecli.report.html.numbers import (
    Predicted,
    compose_counts,
    compose_percentiles,
    compose_prediction,
    compose_verdicts,
    list_facts,
    list_predicted_lines,
)
from voicecli.report.html.page import (
    compose_definitions,
    compose_facts,
    compose_section,
    compose_table,
    render_page,
)
from voicecli.report.html.pareto import Point, draw_pareto
from voicecli.report.html.plot import draw_key
from voicecli.report.html.turn_taking import compose_scores
from voicecli.report.html.waterfall import name_kind
from voicecli.report.interaction_lines import find_faults
from voicecli.sanitize import sanitize_line
from voicecli.units import Seconds

MOST_SHOWN = 8
"""Units that are shown first and in full: most mistakes in turn-taking, then the slowest."""

MOST_SOUND = 1_500_000
"""Bytes of the sound of all units, 3 to 8 minutes; the rest has a picture only."""

MOST_ROWS = 100
"""Rows of a table; of more recordings, the slowest are in it."""

MOST_VALUES = 1_000
"""Steps of a curve; of more turns, it has evenly spaced ranks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusPage:
    """What the page of a corpus shows.

    name: of the corpus.
    conditions: how it was measured, a clause each.
    checks: what it is judged by: expectations, a baseline.
    predicted: the prediction of a saved probe.
    baseline: mouth-to-ear of the turns that it is compared with, in milliseconds; not shown
        beside several profiles.
    find_folder: returns where a unit's session is, if it was kept.
    """

    name: str
    conditions: Sequence[str]
    tally: CorpusTally
    find_folder: Callable[[Unit], Path]
    checks: Sequence[Check] = ()
    predicted: Predicted | None = None
    baseline: Sequence[float] = ()

    def render(self, read_results: Callable[[], Iterable[UnitResult]]) -> str:
        """Return the page.  Raises InputError where a kept session cannot be read.

        read_results: returns the results, in the order of the plan; called twice.
        """
        whole = self.tally.whole
        found = _Digest()
        for result in read_results():
            found.note(result)
        sweeps = measure_sweeps(self.tally)
        content = [
            compose_facts(dict(self._list_facts(found.error))),
            compose_verdicts([(one.met, self._describe_check(one)) for one in self.checks]),
            [_compose_sweep(sweep, f"sweep-{n}") for n, sweep in enumerate(sweeps, 1)],
            compose_section("latency", "Mouth-to-ear", self._compose_latency(found)),
            self._compose_prediction(found),
            None if sweeps else compose_section("tables", "Tables", self._compose_tables()),
            compose_section("turn-taking", "Turn-taking", self._compose_scores()),
            self._compose_first(found, read_results),
            compose_section(
                "replays",
                "All replays",
                draw_key(*((name_kind(stage), stage) for stage in STAGES)),
                map(self._view.compose, read_results()),
            ),
            compose_section(
                "counts",
                "Counts",
                compose_counts(whole.usage),
                [p(".note")[line] for line in format_remarks(self.tally)],
            ),
            compose_definitions([*METRICS, *COUNTS, *INTERACTION_METRICS]),
        ]
        return render_page(self.name, " · ".join(map(sanitize_line, self.conditions)), content)

    def _list_facts(self, error: Seconds | None) -> Iterator[tuple[str, Node]]:
        whole = self.tally.whole
        several = len(self.tally.variants) > 1  # a percentile over two profiles means nothing
        swept = bool(measure_sweeps(self.tally))
        for name in self._choose_variants() if several and not swept else ():
            spread = self.tally.variants[name].summarize().distributions[MOUTH_TO_EAR.name]
            p50 = f"{format_ms(spread.p50)} ms" if spread.n else "–"
            yield f"P50, {self._name_variant(name)}", [p50, small[f"n = {spread.n}"]]
        facts = list(list_facts(whole.summarize(), whole.usage, whole.unreliable, error))
        yield from facts[2 if several else 0 :]
        variants = format_count(len(self.tally.variants), "settings" if swept else "profiles")
        failed = f", {whole.failed} failed" if whole.failed else ""
        yield "replays", [str(whole.units), small[f"{variants}{failed}"]]

    def _name_variant(self, variant: str) -> str:
        """Name a profile, or of a sweep, the setting."""
        profile, overrides = self.tally.settings.get(variant, (variant, ()))
        name = name_setting(profile, overrides)
        several = len({one for one, _ in self.tally.settings.values()}) > 1
        return sanitize_line(f"{profile} {name}" if several and overrides else name)

    def _choose_variants(self) -> list[str]:
        """Choose what is compared side by side: of a sweep, the settings that nothing beats."""
        best = {
            (sweep.profile, one.overrides): not one.recommended
            for sweep in measure_sweeps(self.tally)
            for one in sweep.points
            if one.front or one.timer
        }
        settings = self.tally.settings
        order = sorted(self.tally.variants, key=lambda name: best.get(settings[name], 2))
        return order[: len(VARIANTS)]

    def _describe_check(self, check: Check) -> str:
        several = len(self.tally.variants) > 1
        of = f" · {self._name_variant(check.variant)}" if several else ""
        since = "since the baseline, " if check.group == "baseline" else ""
        mark = "✓" if check.met else "✗"
        return sanitize_line(f"{mark} {check.name}: {since}{check.detail}{of}")

    def _compose_latency(self, found: _Digest) -> Node:
        if not any(found.values.values()):
            return p["No turn was measured: no mouth-to-ear, no picture."]
        samples = [
            Sample(name=self._name_variant(name), values=_thin(found.values[name]), kind=kind)
            for name, kind in zip(self._choose_variants(), VARIANTS, strict=False)
        ]
        if len(found.values) == 1:
            samples.append(Sample(name="baseline", values=_thin(self.baseline), kind="baseline"))
        lines = list_predicted_lines(self.predicted)
        table: Node = None
        if len(found.values) == 1 and found.budgets is not None:
            lines.insert(0, Line(name="budget", value=1000 * found.budgets.total))
            summed = self.tally.whole.summarize()
            percentiles = compose_percentiles(summed, found.budgets, found.over)
            table = fragment[h3["Percentiles over all turns"], percentiles]
        left_out = len(found.values) - len(VARIANTS)
        return [
            draw_ecdf(samples, lines),
            p(".note")[f"{left_out} more are in the tables."] if left_out > 0 else None,
            table,
        ]

    def _compose_prediction(self, found: _Digest) -> Node:
        if len(found.values) != 1 or not found.measured:
            return None
        return compose_prediction(self.predicted, [found.mean_turn], self.tally.whole.summarize())

    def _compose_tables(self) -> Node:
        tables = list_tables(self.tally, MOST_ROWS)
        return [[_compose_table(one) for one in tables], p(".note")[LEGEND]]

    def _compose_scores(self) -> Node:
        variants = self.tally.variants
        shown = {
            self._name_variant(name): variants[name].interaction for name in self._choose_variants()
        }
        return compose_scores(shown)

    # ── units ────────────────────────────────────────────────────────────────

    @property
    def _view(self) -> UnitView:
        several = len(self.tally.variants) > 1
        return UnitView(self.find_folder, self._name_variant if several else None)

    def _compose_first(
        self, found: _Digest, read_results: Callable[[], Iterable[UnitResult]]
    ) -> Node:
        """Return the units that matter most, in full, with their sound."""
        ranks = {one: rank for rank, one in enumerate(found.list_first())}
        if not ranks:
            return None
        first = [result for result in read_results() if result.unit.id in ranks]
        shown: list[Element] = []
        room = MOST_SOUND
        for result in sorted(first, key=lambda one: ranks[one.unit.id]):  # the first have the sound
            unit, room = self._view.compose_in_full(result, room)
            shown.append(unit)
        return compose_section(
            "first",
            "Look at these first",
            p(".note")["Replays with the most mistakes in turn-taking, then the slowest."],
            shown,
        )


@dataclass(slots=True)
class _Digest:
    """What a first look at the results keeps of them.

    values: mouth-to-ear of every measured turn by variant, in milliseconds.
    budgets: of the last one.
    over: how many turns missed the budget of a metric.
    error: the largest of a value.
    """

    values: dict[str, list[float]] = field(default_factory=dict)
    budgets: Budgets | None = None
    over: Counter[str] = field(default_factory=Counter)
    measured: int = 0
    error: Seconds | None = None
    drafted: bool = False
    _stages: Counter[str] = field(default_factory=Counter)
    _ranks: list[tuple[int, float, str]] = field(default_factory=list)

    def note(self, result: UnitResult) -> None:
        """Take the next result."""
        values = self.values.setdefault(result.unit.variant, [])
        if result.result is None:
            return
        budgets = {name: one / 1000 for name, one in result.result["budgets_ms"].items()}
        self.budgets = Budgets(**budgets)
        turns = result.result["turns"]
        slowest = 0.0
        for turn in turns:
            self.over.update(turn["over_budget"])
            if (total := turn["mouth_to_ear_ms"]) is not None:
                values.append(total)
                slowest = max(slowest, total)
                if (error := turn.get("error_ms")) is not None:
                    self.error = max(self.error or 0.0, error / 1000)
                self.measured += 1
                self.drafted = self.drafted or turn["drafted"]
                self._stages.update({name: one or 0.0 for name, one in turn["stages_ms"].items()})
        self._ranks.append((-_count_faults(result.result), -slowest, result.unit.id))

    def list_first(self) -> list[str]:
        """List the ids of the units to look at first."""
        return [one for _, _, one in sorted(self._ranks)[:MOST_SHOWN]]

    @property
    def mean_turn(self) -> dict[str, Any]:
        """The means of the stages, as a turn."""
        means = {name: self._stages[name] / self.measured for name in STAGES}
        return {"stages_ms": means, "drafted": self.drafted}


def _count_faults(result: Mapping[str, Any]) -> int:
    """Count what went wrong in turn-taking: against labels, or else the cut-offs."""
    interaction = decode_interaction(result["interaction"])
    if interaction.labelled:
        return len(find_faults(interaction))
    return sum(turn["cut_off"] for turn in result["turns"])


def _compose_table(table: Table) -> Node:
    note = p(".note")[table.note] if table.note else None
    return [compose_table(table.heads, table.rows, kind="numbers"), note]


def _compose_sweep(sweep: Sweep, anchor: str) -> Element:
    """Return the picture of a sweep, its tables and the setting to use."""
    profile = sanitize_line(sweep.profile)
    points = [
        Point(
            name=sanitize_line(one.name),
            latency=one.wait_ms,
            rate=one.rate,
            kind="timer" if one.timer else "front" if one.front else "other",
            note=f"({one.cutoffs} of {one.pauses}, n = {one.mouth_to_ear['n']})",
            recommended=one.recommended,
        )
        for one in sweep.points
        if one.wait_ms is not None and one.rate is not None
    ]
    picture: Node = p["Too few events for rates: no picture."]
    if points:
        picture = draw_pareto(points, latency="mouth-to-ear P50", rates=RATES)
    return compose_section(
        anchor,
        f"Sweep of {profile}",
        [p[line] for line in format_recommendation(sweep)],
        picture,
        [_compose_table(one) for one in list_sweep_tables(sweep)],
    )


def _thin(values: Sequence[float]) -> list[float]:
    """Return at most MOST_VALUES of ``values``, evenly spaced by rank, the extremes among them."""
    ordered = sorted(values)
    if len(ordered) <= MOST_VALUES:
        return ordered
    step = (len(ordered) - 1) / (MOST_VALUES - 1)
    return [ordered[round(index * step)] for index in range(MOST_VALUES)]
