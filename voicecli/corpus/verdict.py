"""What a run is judged by, as plain data for all outputs: expectations and a baseline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from voicecli.corpus.baseline import Comparison
from voicecli.errors import ThresholdError
from voicecli.metrics.changes import MIN_VALUES, Change, RateChange
from voicecli.metrics.thresholds import Verdict
from voicecli.sanitize import sanitize_line


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a run must meet.

    group: "expectations" or "baseline".
    name: of the expectation, or of the metric.
    detail: what was found, a clause.
    """

    group: str
    variant: str
    name: str
    met: bool
    detail: str


@dataclass(frozen=True, slots=True)
class RunVerdict:
    """How a run is judged.

    expectations: by variant.
    comparisons: with the baseline; empty without one.
    """

    expectations: Mapping[str, Sequence[Verdict]] = field(default_factory=dict)
    comparisons: Sequence[Comparison] = ()

    def list_checks(self) -> list[Check]:
        """List all checks: expectations first, then what the baseline was compared by."""
        return [*self._list_expectations(), *self._list_comparisons()]

    def check(self) -> None:
        """Raise ThresholdError if something is not met."""
        checks = self.list_checks()
        several = len({one.variant for one in checks}) > 1
        missed = [
            f"{f'{one.variant}: ' if several else ''}{one.name} ({one.detail})"
            for one in checks
            if not one.met
        ]
        if missed:
            raise ThresholdError(f"not as expected: {'; '.join(missed)}")

    def _list_expectations(self) -> Iterator[Check]:
        for variant, verdicts in self.expectations.items():
            for one in verdicts:
                yield Check("expectations", variant, one.threshold.text, one.met, one.why)

    def _list_comparisons(self) -> Iterator[Check]:
        for comparison in self.comparisons:
            for change in comparison.headline:
                name = f"{change.metric}.{change.statistic}"
                detail = describe_change(change)
                yield Check("baseline", comparison.variant, name, not change.worse, detail)
            for rate in comparison.rates:
                detail = describe_rate(rate)
                yield Check("baseline", comparison.variant, rate.metric, not rate.worse, detail)


def describe_change(change: Change) -> str:
    """Describe how a duration changed, with the interval of the difference."""
    difference = change.after - change.before
    return (
        f"{change.before:.0f} → {change.after:.0f} ms, {difference:+.0f} "
        f"({change.low:+.0f} to {change.high:+.0f})"
    )


def describe_rate(rate: RateChange) -> str:
    """Describe how a rate changed, with its counts."""
    before, after = (f"{count} of {whole}" for count, whole in (rate.before, rate.after))
    moved = ""
    if rate.risen or rate.fallen:
        moved = f"; higher in {rate.risen}, lower in {rate.fallen} recordings"
    return f"{before} → {after}{moved}"


def format_comparisons(comparisons: Sequence[Comparison], name: str) -> Iterator[str]:
    """Format what changed since the baseline ``name`` as lines."""
    for one in comparisons:
        of = f" · {sanitize_line(one.variant)}" if len(comparisons) > 1 else ""
        before, after = one.counts
        yield f"since {sanitize_line(name)}{of} (n = {before} and {after} turns):"
        if not one.headline:
            least = f"{MIN_VALUES} turns are needed on both sides; replay with --repeat"
            yield f"  mouth_to_ear not compared: {least}"
        for change in one.headline:
            mark = "✗" if change.worse else "✓"
            yield f"  {mark} {change.metric}.{change.statistic} {describe_change(change)}"
        for rate in one.rates:
            yield f"  {'✗' if rate.worse else '✓'} {rate.metric} {describe_rate(rate)}"
        for change in one.reasons:
            yield f"    {change.metric}.{change.statistic} {describe_change(change)}"


def encode_comparisons(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Return what changed as plain data; durations in milliseconds."""
    return [
        {
            "profile": one.variant,
            "n_before": one.counts[0],
            "n_after": one.counts[1],
            "changes": [
                {
                    "metric": change.metric,
                    "statistic": change.statistic,
                    "before_ms": round(change.before, 3),
                    "after_ms": round(change.after, 3),
                    "low_ms": round(change.low, 3),
                    "high_ms": round(change.high, 3),
                    "beyond_noise": change.beyond_noise,
                    "regression": change in one.regressions,
                }
                for change in one.changes
            ],
            "rates": [
                {
                    "metric": rate.metric,
                    "before": list(rate.before),
                    "after": list(rate.after),
                    "risen": rate.risen,
                    "fallen": rate.fallen,
                    "chance": rate.chance,
                    "beyond_noise": rate.beyond_noise,
                    "regression": rate.worse,
                }
                for rate in one.rates
            ],
        }
        for one in comparisons
    ]
