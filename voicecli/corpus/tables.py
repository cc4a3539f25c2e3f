"""Writes what a corpus came to as lines of text: tables by profile, tag and recording."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from voicecli.corpus.sweep import OperatingPoint, Sweep, SweepPoint
from voicecli.corpus.tally import CorpusTally, Tally
from voicecli.metrics.interaction import INTERACTION_METRICS, MIN_EVENTS
from voicecli.metrics.stages import MOUTH_TO_EAR
from voicecli.metrics.summary import MIN_COUNT, Distribution, score
from voicecli.report.format import format_count, format_ms, format_table
from voicecli.report.interaction_lines import format_score, is_telling
from voicecli.report.summary_lines import format_cost
from voicecli.sanitize import sanitize_line

MAX_ROWS = 30
"""Recordings in a table; of more, the slowest are shown."""

MAX_FAILURES = 10
"""Failures that are listed one by one."""

LEGEND = (
    "ms of mouth-to-ear over all turns; n: recordings replayed, turns measured; "
    f"rates of fewer than {MIN_EVENTS} events are withheld"
)


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    tally: Tally
    spread: Distribution


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its heads and its rows, of text; ``note`` says what is left out."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def format_corpus(tally: CorpusTally) -> list[str]:
    """Return the tables by profile, tag and recording, and that of turn-taking."""
    lines = []
    for table in [*list_tables(tally), *_list_scores(tally)]:
        lines += ["", *format_table([table.heads, *table.rows]), *filter(None, [table.note])]
    return [*lines, LEGEND] if lines else []


def list_tables(tally: CorpusTally, most: int = MAX_ROWS) -> list[Table]:
    """List the tables by profile, tag and recording, each with at most ``most`` rows."""
    several = len(tally.variants) > 1
    short = _shorten({path for _, path in tally.recordings})
    named = {(variant, short[path]): one for (variant, path), one in tally.recordings.items()}
    tallies: dict[str, Mapping[tuple[str, ...], Tally]] = {
        "by profile": {(name,): one for name, one in tally.variants.items()},
        "by tag": _name_rows(tally.tags, several),
        "by recording": _name_rows(named, several),
    }
    return [_make_table(title, found, most) for title, found in tallies.items() if found]


def _list_scores(tally: CorpusTally) -> list[Table]:
    """Make the table of turn-taking, a column for each profile; none if nothing is to be said."""
    scores = {name: score(one.interaction) for name, one in tally.variants.items()}
    labelled = tally.whole.interaction.labelled
    rows = []
    for metric in INTERACTION_METRICS:
        column = [found[metric] for found in scores.values()]
        if any(is_telling(one, labelled) for one in column):
            cells = (" · ".join(filter(None, format_score(one)[1:])) for one in column)
            rows.append([metric, *cells])
    heads = ["turn-taking", *map(sanitize_line, scores)]
    return [Table(heads, rows)] if rows else []


def format_remarks(tally: CorpusTally) -> list[str]:
    """Return what else is to know: doubts, failures and the cost."""
    return [*_format_doubts(tally.whole), *_format_failures(tally), format_cost(tally.whole.cost)]


def _name_rows(
    tallies: Mapping[tuple[str, str], Tally], several: bool
) -> dict[tuple[str, ...], Tally]:
    """Name rows by what is in the second place, and by the variant if there are several."""
    ordered = sorted(tallies.items(), key=lambda item: item[0][1])
    return {(name, variant) if several else (name,): one for (variant, name), one in ordered}


def _shorten(paths: set[str]) -> dict[str, str]:
    """Name each recording by as much of its path as tells it from the others."""
    parts = {path: PurePath(path).parts for path in paths}
    short: dict[str, str] = {}
    for count in range(1, max(map(len, parts.values()), default=0) + 1):
        tails = Counter(one[-count:] for one in parts.values())
        for path, one in parts.items():
            if tails[one[-count:]] == 1:
                short.setdefault(path, "/".join(one[-count:]))
    return {path: short.get(path, path) for path in paths}


def _make_table(title: str, tallies: Mapping[tuple[str, ...], Tally], most: int) -> Table:
    """Make a table with a row for each tally: percentiles of mouth-to-ear over all its turns."""
    rows = [_measure_row(" · ".join(name), one) for name, one in tallies.items()]
    note = ""
    if len(rows) > most:
        note = f"({most} slowest of {len(rows)}; --json has all)"
        rows = sorted(rows, key=lambda row: row.spread.max or 0.0, reverse=True)[:most]
    heads = [title, "n", "turns", "n", "P50", "P95", "max", "cut off", "no reply", "drafts lost"]
    return Table(heads, [_format_row(row) for row in rows], note)


def _measure_row(name: str, tally: Tally) -> _Row:
    spread = tally.summarize().distributions[MOUTH_TO_EAR.name]
    return _Row(sanitize_line(name), tally, spread)


def _format_row(row: _Row) -> list[str]:
    usage, spread = row.tally.usage, row.spread
    p95 = format_ms(spread.p95, f"n < {MIN_COUNT['p95']}" if spread.n else "–")
    return [
        row.name,
        str(row.tally.units),
        str(usage.turns),
        str(spread.n),
        format_ms(spread.p50),
        p95,
        format_ms(spread.max),
        format_rate(usage.cutoffs, usage.turns),
        format_rate(usage.turns - usage.discarded - usage.replied, usage.turns - usage.discarded),
        format_rate(usage.drafts_discarded, usage.drafts),
    ]


def format_rate(count: int, of: int) -> str:
    """Format a rate with its counts; without the rate where there are too few events."""
    if not of:
        return "–"
    share = f" {100 * count / of:.1f} %" if of >= MIN_EVENTS else ""
    return f"{count}/{of}{share}"


def _format_doubts(whole: Tally) -> Iterator[str]:
    if whole.repeated:
        repeated = format_count(whole.repeated, "recordings")
        yield f"measured again because the event loop was late: {repeated}"
    if whole.unreliable:
        of = format_count(whole.usage.turns, "turns")
        yield f"not reliable: {whole.unreliable} of {of}"


def _format_failures(tally: CorpusTally) -> Iterator[str]:
    for unit, failure in tally.failures[:MAX_FAILURES]:
        name = f"{sanitize_line(unit.recording)} · {sanitize_line(unit.variant)}"
        yield f"✗ {name}: {sanitize_line(failure.message)}"
    if (rest := len(tally.failures) - MAX_FAILURES) > 0:
        yield f"✗ and {rest} more"


# ── sweeps ───────────────────────────────────────────────────────────────────


def format_sweep(sweep: Sweep) -> list[str]:
    """Return the settings of a sweep, its operating points, and the one to use."""
    lines = []
    for table in list_sweep_tables(sweep):
        lines += ["", *format_table([table.heads, *table.rows]), *filter(None, [table.note])]
    return [*lines, "", *format_recommendation(sweep)]


def list_sweep_tables(sweep: Sweep) -> list[Table]:
    """List the tables of a sweep: its settings, and the operating points."""
    heads = [
        f"sweep of {sanitize_line(sweep.profile)}", "cut off", "latency", "P50", "P95", "n",
        "drafts lost", "front",
    ]  # fmt: skip
    legend = (
        f"cut off: of {sweep.events}; latency: mean ms from the end of a turn to its commitment; "
        "P50, P95: mouth-to-ear"
    )
    return [
        Table(heads, [_format_point(one) for one in sweep.points], legend),
        _make_operating_points(sweep),
    ]


def format_recommendation(sweep: Sweep) -> list[str]:
    """Return the setting to use and its price, or why there is none."""
    if (best := sweep.recommended) is not None:
        return _format_recommended(best)
    fewest = min((one.pauses for one in sweep.points), default=0)
    return [f"no recommendation: {fewest} {sweep.events}, and {MIN_EVENTS} are needed for a rate"]


def _format_point(point: SweepPoint) -> list[str]:
    wait = point.mouth_to_ear
    mark = "recommended" if point.recommended else "yes" if point.front else ""
    return [
        sanitize_line(point.name),
        format_rate(point.cutoffs, point.pauses),
        _format_value(point.latency_ms),
        _format_value(wait["p50_ms"]),
        _format_value(wait["p95_ms"], f"n < {MIN_COUNT['p95']}" if wait["n"] else "–"),
        str(wait["n"]),
        format_rate(point.discarded, point.drafts),
        mark,
    ]


def _make_operating_points(sweep: Sweep) -> Table:
    heads = ["operating point", "reached", "mouth-to-ear", "with", "timer", "mouth-to-ear"]
    rows = []
    for ours, timer in zip(sweep.operating, sweep.timer, strict=True):
        setting = "–" if ours.setting is None else sanitize_line(ours.setting)
        rows.append([ours.name, *_format_reached(ours), setting, *_format_reached(timer)])
    return Table(heads, rows)


def _format_reached(point: OperatingPoint) -> tuple[str, str]:
    if point.value is None:
        return "not reached", "–"
    value = f"{point.value:.1%}" if point.is_rate else f"{point.value:.0f} ms"
    return value, _format_value(point.mouth_to_ear_ms)


def _format_recommended(best: SweepPoint) -> list[str]:
    cost = ""
    if best.discarded_cost:
        cost = f", ${best.discarded_cost:.5f}"
    return [
        f"recommended: {sanitize_line(best.name)}: {format_rate(best.cutoffs, best.pauses)} cut "
        f"off, mouth-to-ear P50 {_format_value(best.wait_ms)} ms",
        f"its price: {format_rate(best.discarded, best.drafts)} drafts discarded; per answered "
        f"turn {best.discarded_tokens or 0:.0f} tokens and {best.discarded_characters or 0:.0f} "
        f"characters{cost}",
    ]


def _format_value(value: float | None, missing: str = "–") -> str:
    return missing if value is None else f"{value:.0f}"
