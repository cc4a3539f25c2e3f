"""``voicecli probe llm --models``: models side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from voicecli.cli.errors import print_error
from voicecli.cli.output import print_text
from voicecli.cli.probe import Format, announce_cost, choose_exit_code, open_progress
from voicecli.sanitize import sanitize_message

if TYPE_CHECKING:
    from voicecli.probe.models import Candidate
    from voicecli.probe.schedule import Plan
    from voicecli.profile import Profile


def compare_models(
    names: Sequence[str],
    profile_name: str,
    profile: Profile,
    plan: Plan,
    output: Format,
    *,
    fast: bool,
) -> int:
    """Measure the models ``names`` in turn, and print the comparison; returns the exit code."""
    from voicecli import clock
    from voicecli.probe.json_result import RunContext
    from voicecli.probe.model_report import (
        build_comparison,
        format_comparison,
        format_comparison_csv,
    )
    from voicecli.probe.models import list_candidates
    from voicecli.report.json_result import describe_environment, dump_result, hash_profile

    candidates = list_candidates(profile, names)
    clock.run(_measure(candidates, profile, plan, output), virtual=fast)
    context = RunContext(
        profile=profile_name,
        profile_hash=hash_profile(profile.resolved()),
        plan=plan,
        basis={},
        environment=describe_environment() | {"clock": "virtual" if fast else "monotonic"},
    )
    if output is Format.JSON:
        print_text(dump_result(build_comparison(candidates, context)))
    elif output is Format.CSV:
        print_text(format_comparison_csv(candidates), end="")
    else:
        markdown = output is Format.MARKDOWN
        for line in format_comparison(candidates, context, markdown=markdown):
            print_text(sanitize_message(line))
    errors = [error for one in candidates for error in one.results.given_up.values()]
    for error in errors:
        print_error(error)
    return choose_exit_code(errors)


async def _measure(
    candidates: Sequence[Candidate], profile: Profile, plan: Plan, output: Format
) -> None:
    from voicecli.pipeline.wiring import open_services
    from voicecli.probe.models import Comparison, estimate_comparison_cost

    async with open_services(profile) as services:
        announce_cost(estimate_comparison_cost(candidates, plan))
        with open_progress(quiet=output is not Format.TEXT) as observer:
            await Comparison(candidates, services, plan, observer).run()
