"""A probe as JSON: what ``--json`` prints, ``--save`` keeps and ``--compare`` reads.

Durations are milliseconds, and say so; null is what was not measured, 0 what was measured as zero.
Within one schema_version, keys are only added.
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
from voicecli.probe.compare import Change, outliers
from voicecli.probe.diagnosis import diagnosis
from voicecli.probe.evaluation import Budget, Evaluation
from voicecli.probe.metrics import METRICS, in_milliseconds
from voicecli.probe.results import ProbeResults
from voicecli.probe.samples import FailedSample
from voicecli.probe.schedule import Plan
from voicecli.report.format import milliseconds
from voicecli.report.json_result import judgement, priced
from voicecli.sanitize import sanitize_line

SCHEMA_VERSION = 1
KIND = "probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What was probed with.

    basis: what another probe must share to be compared with this one, see ``settings.basis``.
    environment: what else there is to know.
    """

    profile: str
    profile_hash: str
    plan: Plan
    basis: Mapping[str, Any]
    environment: Mapping[str, Any] = field(default_factory=dict)


def build_result(
    findings: ProbeResults,
    verdicts: Evaluation,
    cost: Cost,
    setting: Setting,
    changes: Sequence[Change] | None = None,
) -> dict[str, Any]:
    """The probe as plain data; changes: against another one, if it was compared."""
    doubts = doubts_of(findings)
    return {
        "schema_version": SCHEMA_VERSION,
        "program": "voicecli",
        "version": __version__,
        "kind": KIND,
        "profile": {"name": setting.profile, "hash": setting.profile_hash},
        "environment": dict(setting.environment),
        "plan": asdict(setting.plan),
        "basis": dict(setting.basis),
        "measurement": {"reliable": not doubts, "reasons": doubts},
        "services": {one: _service(findings, one) for one in findings.wanted},
        "audio": {"device": findings.devices, "xruns": findings.xruns},
        "metrics": {name: _metric(name, values) for name, values in findings.values().items()},
        "counts": {
            name: count
            for name, count in verdicts.summary.counts.items()
            if name.rpartition(".")[0] not in METRICS
        },
        "prediction": _prediction(verdicts),
        "budgets": [_budget(one) for one in verdicts.budgets],
        "cost": priced(cost),
        "notes": [sanitize_line(note) for note in findings.notes],
        "expectations": [judgement(one) for one in verdicts.expectations],
        "comparison": None if changes is None else [one.as_data() for one in changes],
    }


def load_result(file: Path) -> dict[str, Any]:
    """A probe that was saved; raises InputError where there is none in ``file``."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is no JSON", hint="Name a file that --save has made.") from error
    if not isinstance(found, dict) or found.get("kind") != KIND:
        raise InputError(f"{file} is no saved probe", hint="Name a file that --save has made.")
    if found.get("schema_version") != SCHEMA_VERSION:
        raise InputError(
            f"{file} was saved by another voicecli (schema {found.get('schema_version')})",
            hint="Save one anew with this.",
        )
    return found


def doubts_of(findings: ProbeResults) -> list[str]:
    """Why the measurement cannot be relied on."""
    late = round(findings.counts().get("stt.late", 0))
    return [f"this machine was busy: {late} blocks of audio went out late"] if late else []


def _service(findings: ProbeResults, service: Service) -> dict[str, Any]:
    routes = [one for one in findings.routes if one.service == service]
    readings = [one for one in findings.readings if one.service == service]
    given_up = findings.given_up.get(service)
    return {
        "host": routes[0].host if routes else None,
        "address": routes[0].address or None if routes else None,
        "proxy": routes[0].proxy or None if routes else None,
        "diagnosis": diagnosis(routes) if routes else None,
        "readings": sum(not one.cold for one in readings),
        "cold": sum(one.cold for one in readings),
        "errors": [_mishap(one) for one in findings.mishaps if one.service == service],
        "given_up": sanitize_line(str(given_up)) if given_up else None,
        "exit_code": given_up.exit_code if given_up else 0,
        "request_ids": findings.request_ids(service),
    }


def _mishap(mishap: FailedSample) -> dict[str, Any]:
    error = mishap.error
    known = error if isinstance(error, ServiceError) else None
    return {
        "at_s": round(mishap.at, 3),
        "cold": mishap.cold,
        "error": sanitize_line(str(error)),
        "status": known.status if known else None,
        "request_id": known.request_id if known else None,
    }


def _metric(name: str, values: Sequence[float]) -> dict[str, Any]:
    one = describe(values)
    stands_apart = {"outliers": outliers(values)}
    if not in_milliseconds(name):
        statistics = {of: getattr(one, of) for of in STATISTICS}
        return {"unit": METRICS[name].unit, **statistics, **stands_apart, "values": list(values)}
    statistics = {f"{of}_ms": milliseconds(getattr(one, of)) for of in STATISTICS[1:]}
    return {
        "unit": "ms",
        "n": one.n,
        **statistics,
        **stands_apart,
        "values_ms": [milliseconds(value) for value in values],
    }


def _prediction(verdicts: Evaluation) -> dict[str, Any] | None:
    prediction, best = verdicts.prediction, verdicts.best
    if prediction is None:
        return None
    shown = prediction.spread
    return {
        "n": shown.n,
        **{f"{of}_ms": milliseconds(getattr(shown, of)) for of in STATISTICS[1:]},
        "mean_ms": milliseconds(prediction.mean),
        "mean_stages_ms": {name: milliseconds(took) for name, took in prediction.stages.items()},
        "biggest_lever": best
        and {
            "change": best.change,
            "saves_ms": milliseconds(best.saves),
            "p50_ms": milliseconds(best.prediction.spread.p50),
            "p95_ms": milliseconds(best.prediction.spread.p95),
        },
    }


def _budget(one: Budget) -> dict[str, Any]:
    return {
        "name": one.name,
        "metric": one.metric,
        "budget_ms": milliseconds(one.budget),
        "p50_ms": milliseconds(one.p50),
        "p95_ms": milliseconds(one.p95),
        "judged_by": one.judged_by,
        "met": one.met,
    }
