"""What the numbers of a probe amount to: budgets, the prediction, expectations.  Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from voicecli.metrics.summary import BUDGETED, MICROSECOND, Budgets, Summary
from voicecli.metrics.thresholds import Threshold, Verdict, evaluate
from voicecli.probe.advice import Advice, find_advice
from voicecli.probe.prediction import Prediction, Waits, predicted
from voicecli.probe.results import ProbeResults
from voicecli.units import Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """One line of the budget table.

    met: by P95, or by P50 where P95 is withheld; None: not measured.
    """

    name: str
    metric: str
    budget: Seconds
    p50: Seconds | None
    p95: Seconds | None

    @property
    def judged_by(self) -> str:
        """The statistic."""
        return "P50" if self.p95 is None else "P95"

    @property
    def met(self) -> bool | None:
        """Whether it is kept."""
        value = self.p50 if self.p95 is None else self.p95
        return None if value is None else value - self.budget < MICROSECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Of one probe.

    best: the change that would help most; None where none would, or none is known.
    """

    summary: Summary
    prediction: Prediction | None
    best: Advice | None
    budgets: Sequence[Budget]
    expectations: Sequence[Verdict]


def evaluate_probe(
    findings: ProbeResults, waits: Waits, budgets: Budgets, asked: Sequence[Threshold] = ()
) -> Evaluation:
    """What ``findings`` amount to."""
    measured = findings.measured()
    prediction = predicted(measured, waits)
    found = find_advice(measured, waits, budgets)
    summary = findings.summary(prediction)
    return Evaluation(
        summary=summary,
        prediction=prediction,
        best=found[0] if found else None,
        budgets=[_budget(name, metric, budgets, summary) for name, metric in BUDGETED.items()],
        expectations=[evaluate(one, summary) for one in asked],
    )


def _budget(name: str, metric: str, budgets: Budgets, summary: Summary) -> Budget:
    metric = metric.removeprefix("raw.")
    spread = summary.spreads.get(metric)
    return Budget(
        name=name,
        metric=metric,
        budget=getattr(budgets, name),
        p50=spread.p50 if spread else None,
        p95=spread.p95 if spread else None,
    )
