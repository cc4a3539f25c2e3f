"""``voicecli probe``: each service's latency, and what it predicts for a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voicecli.cli.models import fetch_models_of
from voicecli.errors import UsageError

if TYPE_CHECKING:
    from voicecli.events import Service
    from voicecli.metrics.thresholds import Threshold
    from voicecli.probe.schedule import Plan
    from voicecli.profile import Profile

# what the probers need takes 0.5 s to import: the command does, --help does not


class What(StrEnum):
    """What is probed."""

    STT = "stt"
    LLM = "llm"
    TTS = "tts"
    ALL = "all"


class Format(StrEnum):
    """How it is told."""

    TEXT = "text"
    JSON = "json"
    CSV = "csv"
    MARKDOWN = "markdown"


Target = Annotated[What, typer.Argument(help="A service, or all three.")]
Count = Annotated[
    int | None,
    typer.Option("-n", min=1, max=1000, help="Readings of each service [20; --watch: no end]."),
]
Warmup = Annotated[
    int, typer.Option(min=0, max=100, help="Readings before them that do not count.")
]
ProfileName = Annotated[
    str, typer.Option("--profile", "-p", metavar="NAME", help="Name or file of a profile.")
]
Concurrency = Annotated[
    int, typer.Option(min=1, max=10, metavar="K", help="Connections to a service at once.")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON, every value included.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="CSV, a line per metric.")]
AsMarkdown = Annotated[bool, typer.Option("--markdown", help="Markdown tables.")]
Save = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Keep the result there, to compare with.")
]
Compare = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Tell what changed since that was saved; end with 1 if it got worse."
    ),
]
Slo = Annotated[
    list[str] | None,
    typer.Option(
        metavar="EXPR", help="End with 1 unless it holds: tts.ttfa.p95<400; may be repeated."
    ),
]
Watch = Annotated[
    float | None,
    typer.Option(min=1, max=3600, metavar="S", help="One reading every S seconds, until Ctrl-C."),
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change a setting; may be repeated."),
]
Fast = Annotated[
    bool, typer.Option("--fast", help="Virtual time: as fast as it can be computed (scripted).")
]


def probe_command(
    what: Target = What.ALL,
    count: Count = None,
    warmup: Warmup = 2,
    profile: ProfileName = "default",
    concurrency: Concurrency = 1,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    as_markdown: AsMarkdown = False,
    save: Save = None,
    compare: Compare = None,
    slo: Slo = None,
    watch: Watch = None,
    overrides: Sets = None,
    fast: Fast = False,
) -> None:
    """Measure each service as a conversation uses it, and predict mouth-to-ear.

    Speech goes out in real time, so that 20 readings take some four minutes.
    """
    from voicecli.cli.probe_run import ProbeOptions, Probing
    from voicecli.metrics.thresholds import parse_threshold
    from voicecli.probe.metrics import expectable
    from voicecli.profile import load_profile

    form = _format(as_json, as_csv, as_markdown)
    known = expectable() if slo else []
    expectations: list[Threshold] = [parse_threshold(text, known) for text in slo or ()]
    settings = load_profile(profile, overrides=overrides or ())
    _check(settings, fast=fast, watch=watch, form=form, compare=compare)
    fetch_models_of(settings)
    asked = ProbeOptions(
        profile_name=profile,
        wanted=_wanted(what),
        plan=_plan(count, warmup, concurrency, watch),
        form=form.value,
        save=save,
        compare=compare,
        expectations=expectations,
        fast=fast,
    )
    raise typer.Exit(Probing(settings, asked).run())


def _format(as_json: bool, as_csv: bool, as_markdown: bool) -> Format:
    asked = {Format.JSON: as_json, Format.CSV: as_csv, Format.MARKDOWN: as_markdown}
    chosen = [form for form, wanted in asked.items() if wanted]
    if len(chosen) > 1:
        names = " and ".join(f"--{form}" for form in chosen)
        raise UsageError(f"{names} contradict each other", hint="Leave one out.")
    return chosen[0] if chosen else Format.TEXT


def _check(
    profile: Profile, *, fast: bool, watch: float | None, form: Format, compare: Path | None
) -> None:
    if fast and (profile.standin is None or profile.standin.engine != "scripted"):
        raise UsageError(
            "--fast is virtual time, in which no real service can keep up",
            hint="Take a profile with scripted stand-ins: --profile scripted.",
        )
    if watch is not None and (form is not Format.TEXT or compare is not None):
        other = "--compare" if compare is not None else f"--{form}"
        raise UsageError(f"--watch and {other} contradict each other", hint="Leave one out.")


def _wanted(what: What) -> Sequence[Service]:
    from voicecli.probe.metrics import SERVICES

    return [service for service in SERVICES if what in (What.ALL, service)]


def _plan(count: int | None, warmup: int, workers: int, watch: float | None) -> Plan:
    from voicecli.probe.schedule import Plan

    if watch is not None:
        return Plan(count=count, warmup=min(warmup, 1), cold=0, workers=workers, every=watch)
    return Plan(count=count or 20, warmup=warmup, workers=workers)
