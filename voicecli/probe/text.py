"""A probe in lines of text, for the terminal or as Markdown.  Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from voicecli.events import Service
from voicecli.metrics.usage import PRICES_OF, Cost
from voicecli.probe.compare import Change
from voicecli.probe.diagnosis import diagnosis
from voicecli.probe.evaluation import Evaluation
from voicecli.probe.json_result import Setting, doubts_of
from voicecli.probe.metrics import SERVICES
from voicecli.probe.results import ProbeResults
from voicecli.probe.tables import Row, budget_rows, markdown, metric_rows, network_rows, number
from voicecli.report.format import rounded, table
from voicecli.sanitize import sanitize_line


def text_lines(
    findings: ProbeResults,
    verdicts: Evaluation,
    cost: Cost,
    setting: Setting,
    changes: Sequence[Change] | None = None,
    *,
    as_markdown: bool = False,
) -> list[str]:
    """Everything worth reading, in the order of interest to somebody whose agent is slow."""
    lines = [_title(setting)]

    def section(title: str, rows: list[Row], *below: str) -> None:
        if rows:
            rows[0][0] = title
        lines.extend(["", *(markdown(rows) if as_markdown else table(rows))] if rows else [])
        lines.extend(
            ([""] if as_markdown and below else []) + [_item(one, as_markdown) for one in below]
        )

    section("network, ms", network_rows(findings), *_diagnoses(findings))
    section("ms", metric_rows(findings, cold=False), *_services(findings, verdicts))
    section("first use of a new connection, ms", metric_rows(findings, cold=True))
    section("budgets, ms", budget_rows(verdicts))
    if changes is not None:
        section("compared, P50 and P95", _change_rows(changes), _changed(changes))
    lines.append("")
    lines += [_item(one, as_markdown) for one in _closing(findings, verdicts, cost)]
    return lines


def _item(line: str, as_markdown: bool) -> str:
    return f"- {line}" if as_markdown else line


def _title(setting: Setting) -> str:
    plan = setting.plan
    count = "" if plan.count is None else f"{plan.count} readings, "
    workers = f", {plan.workers} at once" if plan.workers > 1 else ""
    warmup = f"{plan.warmup} to warm up, {plan.cold} cold"
    return f"probe of the profile {setting.profile}: {count}{warmup}{workers}"


def _diagnoses(findings: ProbeResults) -> Iterator[str]:
    for service in findings.wanted:
        routes = [one for one in findings.routes if one.service == service]
        if routes:
            yield f"{service}: {diagnosis(routes)}."


def _services(findings: ProbeResults, verdicts: Evaluation) -> Iterator[str]:
    """What is counted, service by service."""
    counts, sums = verdicts.summary.counts, findings.counts()
    told: dict[Service, list[str]] = {service: [] for service in SERVICES}
    if sums.get("stt.asked"):
        told["stt"].append(
            f"Finalize answered {sums['stt.answered']:.0f} of {sums['stt.asked']:.0f} times"
        )
        rate, wrong, words = counts["stt.wer"], sums["stt.wrong"], sums["stt.words"]
        told["stt"].append(
            f"word error rate {(rate or 0) * 100:.1f} % ({wrong:.0f} of {words:.0f})"
        )
    if sums.get("llm.requests"):
        told["llm"].append(f"{sums['llm.requests']:.0f} requests")
        told["llm"] += [
            f"{counts[f'llm.{what}']:.0f} {what}" for what in ("retries", "refusals", "stalls")
        ]
        told["llm"].append(f"{sums['llm.prompt_tokens']:.0f} + {sums['llm.tokens']:.0f} tokens")
    if sums.get("tts.flushes"):
        told["tts"].append(
            f"{sums['tts.flushes']:.0f} Flushes, {sums['tts.characters']:.0f} characters"
        )
    for service in findings.wanted:
        errors = counts[f"{service}.errors"] or 0
        parts = [*told[service], f"{errors:.0f} error{'' if errors == 1 else 's'}"]
        yield f"{service}: {', '.join(parts)}."


def _change_rows(changes: Sequence[Change]) -> list[Row]:
    rows: list[Row] = [["", "before", "now", "change, 95 % interval", ""]]
    for one in changes:
        between = one.difference
        if between.beyond_noise:
            rows.append(
                [
                    f"{one.metric}.{between.statistic}",
                    f"{between.before:.1f}",
                    f"{between.after:.1f}",
                    f"{between.low:+.1f} to {between.high:+.1f} {one.unit}",
                    "worse" if one.worse else "better",
                ]
            )
    return rows if len(rows) > 1 else []


def _changed(changes: Sequence[Change]) -> str:
    count = sum(one.difference.beyond_noise for one in changes)
    of = f"of {len(changes)} statistics compared"
    return f"{count or 'none'} {of} changed beyond noise."


def _closing(findings: ProbeResults, verdicts: Evaluation, cost: Cost) -> Iterator[str]:
    yield from _predicted(verdicts)
    if findings.devices:
        yield f"audio: {sanitize_line(findings.devices)}"
    for note in (*findings.notes, *doubts_of(findings)):
        yield sanitize_line(note)
    for one in verdicts.expectations:
        yield f"{'✓' if one.met else '✗'} {one.expectation.text}: {one.why}"
    yield _price(cost)


def _predicted(verdicts: Evaluation) -> Iterator[str]:
    prediction, best = verdicts.prediction, verdicts.best
    if prediction is None:
        return
    shown = prediction.spread
    p95 = "withheld (n < 20)" if shown.p95 is None else f"{number(shown.p95, 'ms')} ms"
    yield f"expected mouth-to-ear: P50 {number(shown.p50, 'ms')} ms, P95 {p95}"
    parts = rounded(prediction.stages, prediction.mean, per_second=1000)
    terms = " + ".join(f"{name} {took}" for name, took in parts.items() if took)
    yield f"on average {prediction.mean * 1000:.0f} ms = {terms}"
    if best is None:
        yield "no single change would make it faster by more than 10 ms"
        return
    then = best.prediction.spread
    after = f"P50 {number(then.p50, 'ms')} ms"
    if then.p95 is not None:
        after += f", P95 {number(then.p95, 'ms')} ms"
    yield f"what would help most: {best.change}: {after}"


def _price(cost: Cost) -> str:
    if cost.total is None:
        return "cost: not known"
    if not cost.total:
        return "cost: nothing"
    how = "at least" if cost.lower_bound else "about"
    return f"cost: {how} ${cost.total:.4f} (estimated, list prices of {PRICES_OF})"
