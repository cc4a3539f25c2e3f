"""A run of the probe as JSON: ``--json`` prints it, ``--save`` keeps it, ``--compare`` reads it.

Durations are milliseconds and say so; null means not measured, 0 means measured as zero.  Within
one schema_version, keys are only added.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from voicecli import __version__
from voicecli.errors import InputError, ServiceError
from voicecli.events import Service
from voicecli.metrics.summary import STATISTICS, describe
from voicecli.metrics.usage import Cost
from voicecli.probe.compare import Change, find_outliers
from voicecli.probe.prediction import BudgetCheck, Evaluation
from voicecli.probe.results import METRICS, ProbeResults, diagnose, is_duration
from voicecli.probe.schedule import FailedSample, Plan
from voicecli.report.format import to_ms
from voicecli.report.json_result import encode_cost, encode_distribution, encode_verdict
from voicecli.sanitize import sanitize_line

SCHEMA_VERSION = 1
KIND = "probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """What a run was made with.

    basis: what another run must share to be compared with this one.
    environment: more about the machine.
    """

    profile: str
    profile_hash: str
    plan: Plan
    basis: Mapping[str, Any]
    environment: Mapping[str, Any] = field(default_factory=dict)


def build_result(
    results: ProbeResults,
    evaluation: Evaluation,
    cost: Cost,
    context: RunContext,
    changes: Sequence[Change] | None = None,
) -> dict[str, Any]:
    """The run as plain data; changes: compared with a saved run, or None."""
    doubts = list_doubts(results)
    return {
        "schema_version": SCHEMA_VERSION,
        "program": "voicecli",
        "version": __version__,
        "kind": KIND,
        "profile": {"name": context.profile, "hash": context.profile_hash},
        "environment": dict(context.environment),
        "plan": asdict(context.plan),
        "basis": dict(context.basis),
        "measurement": {"reliable": not doubts, "reasons": doubts},
        "services": {service: _service(results, service) for service in results.wanted},
        "audio": {"device": results.devices, "xruns": results.xruns},
        "metrics": {name: _metric(name, values) for name, values in results.values().items()},
        "counts": {
            name: count
            for name, count in evaluation.summary.counts.items()
            if name.rpartition(".")[0] not in METRICS
        },
        "prediction": _prediction(evaluation),
        "budgets": [_budget(check) for check in evaluation.budgets],
        "cost": encode_cost(cost),
        "notes": [sanitize_line(note) for note in results.notes],
        "expectations": [encode_verdict(verdict) for verdict in evaluation.expectations],
        "comparison": None if changes is None else [_change(change) for change in changes],
    }


def load_result(file: Path) -> dict[str, Any]:
    """Load a saved run; raises InputError if ``file`` is not one."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is not JSON", hint="Name a file saved with --save.") from error
    if not isinstance(found, dict) or found.get("kind") != KIND:
        raise InputError(f"{file} is not a saved probe", hint="Name a file saved with --save.")
    if found.get("schema_version") != SCHEMA_VERSION:
        raise InputError(
            f"{file} was saved by another voicecli (schema {found.get('schema_version')})",
            hint="Save a new one with this version.",
        )
    return found


def list_doubts(results: ProbeResults) -> list[str]:
    """Why the measurement is not reliable, a clause each; empty if it is."""
    late = round(results.counts().get("stt.late", 0))
    return [f"this machine was busy: {late} blocks of audio went out late"] if late else []


def _service(results: ProbeResults, service: Service) -> dict[str, Any]:
    traces = results.traces_of(service)
    samples = [sample for sample in results.samples if sample.service == service]
    given_up = results.given_up.get(service)
    return {
        "host": traces[0].host if traces else None,
        "address": traces[0].address or None if traces else None,
        "proxy": traces[0].proxy or None if traces else None,
        "diagnosis": diagnose(traces) if traces else None,
        "readings": sum(not sample.cold for sample in samples),
        "cold": sum(sample.cold for sample in samples),
        "errors": [_failure(one) for one in results.failures if one.service == service],
        "given_up": sanitize_line(str(given_up)) if given_up else None,
        "exit_code": given_up.exit_code if given_up else 0,
        "request_ids": results.request_ids(service),
    }


def _failure(failure: FailedSample) -> dict[str, Any]:
    error = failure.error
    known = error if isinstance(error, ServiceError) else None
    return {
        "at_s": round(failure.at, 3),
        "cold": failure.cold,
        "error": sanitize_line(str(error)),
        "status": known.status if known else None,
        "request_id": known.request_id if known else None,
    }


def _metric(name: str, values: Sequence[float]) -> dict[str, Any]:
    distribution = describe(values)
    outliers = {"outliers": find_outliers(values)}
    if not is_duration(name):
        statistics = {of: getattr(distribution, of) for of in STATISTICS}
        return {"unit": METRICS[name].unit, **statistics, **outliers, "values": list(values)}
    return {
        "unit": "ms",
        **encode_distribution(distribution),
        **outliers,
        "values_ms": [to_ms(value) for value in values],
    }


def _prediction(evaluation: Evaluation) -> dict[str, Any] | None:
    prediction, best = evaluation.prediction, evaluation.best
    if prediction is None:
        return None
    distribution = prediction.distribution
    return {
        **encode_distribution(distribution),
        "mean_ms": to_ms(prediction.mean),
        "mean_stages_ms": {name: to_ms(took) for name, took in prediction.stages.items()},
        "biggest_lever": best
        and {
            "change": best.change,
            "saves_ms": to_ms(best.saves),
            "p50_ms": to_ms(best.prediction.distribution.p50),
            "p95_ms": to_ms(best.prediction.distribution.p95),
        },
    }


def _change(change: Change) -> dict[str, Any]:
    return {**asdict(change), "worse": change.worse}


def _budget(check: BudgetCheck) -> dict[str, Any]:
    return {
        "name": check.name,
        "metric": check.metric,
        "budget_ms": to_ms(check.budget),
        "p50_ms": to_ms(check.p50),
        "p95_ms": to_ms(check.p95),
        "judged_by": check.judged_by,
        "met": check.met,
    }
