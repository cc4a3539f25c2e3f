"""A run of the probe as JSON: ``--json`` prints it, ``--save`` keeps it, ``--compare`` reads it.

Durations are milliseconds and say so; null means not measured, 0 means measured as zero.  Within
one schema_version, keys are only added.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from voicecli import __version__
from voicecli.environment.files import read_text_file
from voicecli.errors import InputError
from voicecli.events import Service
from voicecli.metrics.changes import Change
from voicecli.metrics.summary import describe
from voicecli.probe.compare import find_outliers
from voicecli.probe.prediction import Evaluation
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
    results: ProbeResults, evaluation: Evaluation, context: RunContext
) -> dict[str, Any]:
    """The run as plain data, not compared with another."""
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
        "services": {service: encode_service(results, service) for service in results.wanted},
        "audio": {"device": results.devices, "xruns": results.xruns},
        "metrics": {name: encode_metric(name, values) for name, values in results.values().items()},
        "counts": {
            name: count
            for name, count in evaluation.summary.counts.items()
            if name.rpartition(".")[0] not in METRICS
        },
        "prediction": _prediction(evaluation),
        "budgets": [
            {
                "name": check.name,
                "metric": check.metric,
                "budget_ms": to_ms(check.budget),
                "p50_ms": to_ms(check.p50),
                "p95_ms": to_ms(check.p95),
                "judged_by": check.judged_by,
                "met": check.met,
            }
            for check in evaluation.budgets
        ],
        "cost": encode_cost(evaluation.cost),
        "notes": [sanitize_line(note) for note in results.notes],
        "expectations": [encode_verdict(verdict) for verdict in evaluation.expectations],
        "comparison": None,
    }


def encode_changes(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """What changed since a saved run, as plain data."""
    return [asdict(change) | {"worse": change.worse} for change in changes]


def load_result(file: Path) -> dict[str, Any]:
    """Load a saved run; raises InputError if ``file`` is not one."""
    try:
        text = read_text_file(file)
        found = json.loads(text, parse_float=_parse_finite, parse_constant=_parse_finite)
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
    if not _has_shape(found):
        raise InputError(f"{file} is damaged", hint="Save a new one with --save.")
    return found


def _parse_finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a number of JSON")
    return number


def _has_shape(result: Mapping[str, Any]) -> bool:
    """Whether what is read of a saved run has the types that ``build_result`` gives it."""
    prediction = result.get("prediction")
    if not all(isinstance(result.get(key, {}), dict) for key in ("basis", "metrics")):
        return False
    if not isinstance(prediction, dict):
        return prediction is None
    stages = prediction.get("mean_stages_ms", {})
    if not isinstance(stages, dict) or not all(
        isinstance(one, int | float) for one in stages.values()
    ):
        return False
    return all(
        isinstance(prediction.get(key, ""), int | float | None) for key in ("p50_ms", "p95_ms")
    )


def list_doubts(results: ProbeResults) -> list[str]:
    """Why the measurement is not reliable, a clause each; empty if it is."""
    late = round(results.counts().get("stt.late", 0))
    return [f"this machine was busy: {late} blocks of audio went out late"] if late else []


def encode_service(results: ProbeResults, service: Service) -> dict[str, Any]:
    """What was measured of a service, and what failed, as plain data."""
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
    return {
        "at_s": round(failure.at, 3),
        "cold": failure.cold,
        "error": sanitize_line(str(failure.error)),
        "status": getattr(failure.error, "status", None),
        "request_id": getattr(failure.error, "request_id", None),
    }


def encode_metric(name: str, values: Sequence[float]) -> dict[str, Any]:
    """The distribution of a metric, and its values, as plain data."""
    distribution = describe(values)
    statistics = encode_distribution(distribution) if is_duration(name) else asdict(distribution)
    encoded = {"unit": METRICS[name].unit, **statistics, "outliers": find_outliers(values)}
    if is_duration(name):
        return encoded | {"values_ms": [to_ms(value) for value in values]}
    return encoded | {"values": list(values)}


def _prediction(evaluation: Evaluation) -> dict[str, Any] | None:
    prediction, best = evaluation.prediction, evaluation.best
    if prediction is None:
        return None
    return {
        **encode_distribution(prediction.distribution),
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
