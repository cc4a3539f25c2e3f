"""A comparison of models as text, Markdown, CSV or plain data."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from voicecli import __version__
from voicecli.metrics.stages import LLM_CLAUSE, LLM_TTFT
from voicecli.metrics.summary import describe
from voicecli.metrics.usage import add_costs
from voicecli.probe.json_result import RunContext, encode_changes, encode_metric, encode_service
from voicecli.probe.models import Candidate, compare_candidates
from voicecli.probe.text import (
    WITHHELD,
    Row,
    format_change_rows,
    format_markdown,
    format_value,
    list_metric_rows,
)
from voicecli.report.format import format_count, format_table
from voicecli.report.json_result import encode_cost
from voicecli.report.summary_lines import format_cost
from voicecli.sanitize import sanitize_line

SCHEMA_VERSION = 1
KIND = "model comparison"

PRICED_TURNS = 1000

_EXPLANATION = (
    "llm.clause is the time from the first token to the first clause; the price is for the prompts "
    "and replies measured here, and those of a long conversation cost more."
)


def format_comparison(
    candidates: Sequence[Candidate], context: RunContext, *, markdown: bool = False
) -> list[str]:
    """Format a row per model, and what distinguishes each from the first one beyond noise."""
    table = format_markdown if markdown else format_table
    bullet = "- " if markdown else ""
    rounds = format_count(context.plan.count or 0, "rounds")
    names = ", ".join(one.name for one in candidates)
    lines = [
        f"{names} with the profile {context.profile}: {rounds}, {context.plan.warmup} to warm up",
        "",
        *table(list(_list_rows(candidates))),
    ]
    base = candidates[0]
    for other in candidates[1:]:
        changes = compare_candidates(base, other)
        different = sum(change.beyond_noise for change in changes)
        if changes:
            _, *rows = format_change_rows(changes)
            title = f"{other.name} against {base.name}"
            heading = [title, base.name, other.name, "difference, 95 % interval"]
            lines += ["", *(table([[*heading, ""], *rows]) if rows else ())]
            known = f"{different or 'none'} of {len(changes)} statistics differ beyond noise."
            lines += ["", f"{bullet}{other.name}: {known}"]
    lines.append("")
    for one in candidates:
        given_up = one.results.given_up.get("llm")
        told = [*one.results.notes, *([f"given up: {given_up}"] if given_up else [])]
        lines += [f"{bullet}{sanitize_line(f'{one.name}: {text}')}" for text in told]
    cost = add_costs(one.cost for one in candidates)
    return [*lines, f"{bullet}{_EXPLANATION}", f"{bullet}{format_cost(cost)}"]


def _list_rows(candidates: Sequence[Candidate]) -> Iterator[Row]:
    yield [
        "ms",
        "n",
        "llm.ttft P50",
        "P95",
        "llm.clause P50",
        "tokens/s P50",
        "tokens a turn",
        f"$ for {PRICED_TURNS} turns",
        "errors",
    ]
    for one in candidates:
        values = one.results.values()
        ttft, clause, rate = (
            describe(values.get(name, ())) for name in (LLM_TTFT.name, LLM_CLAUSE.name, "llm.rate")
        )
        yield [
            one.name,
            str(ttft.n),
            format_value(ttft.p50),
            format_value(ttft.p95, missing=WITHHELD),
            format_value(clause.p50),
            format_value(rate.p50, "tokens/s"),
            _format_tokens(one),
            _format_price(one),
            str(len(one.results.failures)),
        ]


def _format_tokens(one: Candidate) -> str:
    """Format the tokens of a turn, prompt + reply."""
    usage, count = one.results.count_usage(), len(one.results.samples)
    if not count or usage.uncounted:
        return "not counted" if count else "–"
    return f"{(usage.prompt_tokens or 0) / count:.0f} + {(usage.tokens or 0) / count:.0f}"


def _format_price(one: Candidate) -> str:
    if one.profile.find_prices().llm is None:
        return "not known"
    price = one.turn_price
    return "–" if price is None else f"{PRICED_TURNS * price:.3g}"


def format_comparison_csv(candidates: Sequence[Candidate]) -> str:
    """Format a line per model and metric; durations in milliseconds."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for number, one in enumerate(candidates):
        heading, *rows = list_metric_rows(
            {name: describe(values) for name, values in one.results.values().items()},
            one.results.values(),
        )
        if not number:
            writer.writerow(["model", *heading])
        writer.writerows([one.name, *row] for row in rows)
    return out.getvalue()


def build_comparison(candidates: Sequence[Candidate], context: RunContext) -> dict[str, Any]:
    """The comparison as plain data; each model is compared with the first one."""
    return {
        "schema_version": SCHEMA_VERSION,
        "program": "voicecli",
        "version": __version__,
        "kind": KIND,
        "profile": {"name": context.profile, "hash": context.profile_hash},
        "environment": dict(context.environment),
        "plan": {"rounds": context.plan.count, "warmup": context.plan.warmup},
        "models": [_encode_candidate(candidates[0], one) for one in candidates],
        "cost": encode_cost(add_costs(one.cost for one in candidates)),
    }


def _encode_candidate(base: Candidate, one: Candidate) -> dict[str, Any]:
    usage, prices = one.results.count_usage(), one.profile.find_prices()
    settings = one.profile.resolved()["llm"]
    return {
        "model": one.name,
        "settings": {key: value for key, value in settings.items() if key != "key_env"},
        "service": encode_service(one.results, "llm"),
        "metrics": {
            name: encode_metric(name, values) for name, values in one.results.values().items()
        },
        "tokens": {"prompt": usage.prompt_tokens, "reply": usage.tokens},
        "price_per_million_tokens": None
        if prices.llm is None
        else dict(zip(("prompt", "reply"), prices.llm, strict=True)),
        "price_of_a_turn": one.turn_price,
        "cost": asdict(one.cost)["llm"],
        "notes": [sanitize_line(note) for note in one.results.notes],
        "compared_with_first": [] if one is base else encode_changes(compare_candidates(base, one)),
    }
