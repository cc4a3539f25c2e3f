"""A run as Markdown for a pull request: what became worse first, then the numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from voicecli.corpus.baseline import Comparison
from voicecli.corpus.tables import format_rate
from voicecli.corpus.tally import CorpusTally, Tally
from voicecli.corpus.verdict import Check, describe_change
from voicecli.metrics.stages import MOUTH_TO_EAR
from voicecli.metrics.summary import MIN_COUNT
from voicecli.report.format import format_count, format_ms
from voicecli.sanitize import sanitize_line

MAX_FAILURES = 10
"""Replays that failed and are named."""

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~@-])")


def render_markdown(
    tally: CorpusTally, checks: Sequence[Check], comparisons: Sequence[Comparison]
) -> str:
    """Render a heading with the outcome, the checks, and a row for each profile."""
    missed = [one for one in checks if not one.met]
    failed = tally.failures
    outcome = "passed"
    if missed or failed:
        parts = [format_count(len(missed), "checks")] if missed else []
        parts += [format_count(len(failed), "replays")] if failed else []
        outcome = f"{' and '.join(parts)} failed"
    lines = [f"### voicecli: {outcome}", ""]
    lines += [*_list_checks(missed), *_list_failures(tally)]
    lines += [*_format_profiles(tally), ""]
    met = [one for one in checks if one.met]
    if met:
        lines += ["<details><summary>Checks that passed</summary>", "", *_list_checks(met)]
        lines += ["</details>", ""]
    lines += _list_reasons(comparisons)
    return "\n".join(lines).rstrip() + "\n"


def _list_checks(checks: Sequence[Check]) -> list[str]:
    if not checks:
        return []
    rows = [
        f"| {'✅' if one.met else '❌'} | {escape(one.name)} | {escape(one.variant)} "
        f"| {escape(one.detail)} |"
        for one in checks
    ]
    return ["| | check | profile | found |", "|---|---|---|---|", *rows, ""]


def _list_failures(tally: CorpusTally) -> Iterator[str]:
    for unit, failure in tally.failures[:MAX_FAILURES]:
        yield f"- ❌ {escape(unit.recording)} ({escape(unit.variant)}): {escape(failure.message)}"
    if (rest := len(tally.failures) - MAX_FAILURES) > 0:
        yield f"- and {rest} more"
    if tally.failures:
        yield ""


def _format_profiles(tally: CorpusTally) -> Iterator[str]:
    yield "| profile | recordings | turns | mouth-to-ear P50 | P95 | cut off | no reply |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for name, one in tally.variants.items():
        yield f"| {escape(name)} | {' | '.join(_format_cells(one))} |"


def _format_cells(tally: Tally) -> list[str]:
    spread, usage = tally.summarize().distributions[MOUTH_TO_EAR.name], tally.usage
    p95 = format_ms(spread.p95, f"n < {MIN_COUNT['p95']}" if spread.n else "–")
    return [
        str(tally.units),
        str(usage.turns),
        f"{format_ms(spread.p50)} ms" if spread.n else "–",
        p95 if spread.p95 is None else f"{p95} ms",
        format_rate(*tally.count_cutoffs()),
        format_rate(usage.turns - usage.discarded - usage.replied, usage.turns - usage.discarded),
    ]


def _list_reasons(comparisons: Sequence[Comparison]) -> Iterator[str]:
    for one in comparisons:
        for change in one.reasons:
            yield (
                f"- {escape(one.variant)}: {escape(change.metric)} "
                f"{escape(describe_change(change))}"
            )


def escape(text: str) -> str:
    """Return ``text`` as one line of Markdown that shows it as it is, without mentions or HTML."""
    return _SPECIAL.sub(r"\\\1", sanitize_line(text))
