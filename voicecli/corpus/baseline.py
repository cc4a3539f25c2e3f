"""Baselines: what a run measured, kept in a file, and what changed since, beyond noise.

Recordings are paired with themselves and, where both runs have as many turns, turns with turns:
that one recording is answered more slowly than another is no noise.  In virtual time nothing is.
Only mouth-to-ear and rates make a regression.  Its stages and the services' own times say why.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any

from voicecli import __version__
from voicecli.corpus.unit import Unit, UnitResult
from voicecli.environment.files import read_text_file, write_text_file
from voicecli.errors import InputError
from voicecli.metrics.changes import (
    Change,
    Floor,
    Pair,
    RateChange,
    compare_rate,
    find_changes,
)
from voicecli.metrics.interaction import INTERACTION_METRICS, decode_interaction
from voicecli.metrics.stages import MOUTH_TO_EAR
from voicecli.metrics.summary import METRICS, score
from voicecli.report.json_result import list_durations
from voicecli.sanitize import sanitize_short
from voicecli.units import ms

SCHEMA_VERSION = 1
"""Raised when an earlier file can no longer be read."""

KIND = "baseline"

FLOOR = Floor(absolute=20.0, relative=0.03)
"""Milliseconds: the program's own loop may be 20 ms late.  3 % of a mouth-to-ear is less than
anybody hears."""

HINT = "Save a new one with --save-baseline."


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a baseline keeps of one unit.

    recording: its name, for messages; recordings are told apart by their digests.
    labels: the digest of its labels; "" without any.
    engine: "scripted", "local", or "services".
    turns: the durations of each turn that was not discarded, in milliseconds, by name.
    rates: of the session: events, and of how many, by name.
    """

    recording: str
    digest: str
    labels: str
    variant: str
    engine: str
    user: str
    channel: str
    fast: bool
    turns: tuple[Mapping[str, float], ...]
    rates: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What a run measured, and where.

    machine: what distinguishes classes of machines.
    """

    saved: str
    version: str
    machine: Mapping[str, str]
    samples: tuple[Sample, ...]

    def list_values(self, metric: str) -> list[float]:
        """List the durations of all turns, in milliseconds."""
        return [turn[metric] for one in self.samples for turn in one.turns if metric in turn]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changed in one variant since the baseline.

    variant: as it is called now.
    counts: turns with a mouth-to-ear, before and after.
    changes: of all durations that could be compared, mouth-to-ear first.
    """

    variant: str
    counts: tuple[int, int]
    changes: Sequence[Change] = field(default_factory=list)
    rates: Sequence[RateChange] = field(default_factory=list)

    @property
    def headline(self) -> list[Change]:
        """The changes of mouth-to-ear."""
        return [one for one in self.changes if one.metric == MOUTH_TO_EAR.name]

    @property
    def regressions(self) -> list[Change | RateChange]:
        """What became worse beyond noise."""
        judged: list[Change | RateChange] = [*self.headline, *self.rates]
        return [one for one in judged if one.worse]

    @property
    def reasons(self) -> list[Change]:
        """Which parts of mouth-to-ear changed beyond noise."""
        return [
            one
            for one in self.changes
            if one.beyond_noise and one.metric != MOUTH_TO_EAR.name and one.statistic == "p50"
        ]


def describe_machine() -> dict[str, str]:
    """Describe what the speed of local engines depends on."""
    model = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(
            (line.partition(":")[2] for line in lines if line.startswith("model name")), model
        )
    except OSError:
        pass  # not Linux
    return {
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": sanitize_short(model),
        "cores": str(os.cpu_count()),
    }


def make_baseline(results: Iterable[UnitResult]) -> Baseline:
    """Keep what can be compared later of ``results``; units that failed are left out."""
    samples = tuple(_make_sample(one.unit, one.result) for one in results if one.result is not None)
    saved = datetime.now(UTC).isoformat(timespec="seconds")
    return Baseline(saved=saved, version=__version__, machine=describe_machine(), samples=samples)


def _make_sample(unit: Unit, result: Mapping[str, Any]) -> Sample:
    standin = unit.settings.get("standin") or {}
    scores = score(decode_interaction(result["interaction"]).tally)
    return Sample(
        recording=sanitize_short(unit.name),
        digest=unit.digests["recording"],
        labels=unit.digests.get("labels", ""),
        variant=sanitize_short(unit.variant),
        engine=standin.get("engine", "services"),
        user=unit.user,
        channel=str(unit.channel),
        fast=unit.fast,
        turns=tuple(
            {name: round(ms(took), 3) for name, took in list_durations(turn)}
            for turn in result["turns"]
            if turn["outcome"] != "discarded"
        ),
        rates={
            name: (one.hits, one.n)
            for name, one in scores.items()
            if one.metric.unit == "rate" and one.n
        },
    )


# ── files ────────────────────────────────────────────────────────────────────


def save_baseline(baseline: Baseline, file: Path) -> None:
    """Write ``baseline`` to ``file``; raises OSError."""
    head = {"schema_version": SCHEMA_VERSION, "program": "voicecli", "kind": KIND}
    values = head | {name: one for name, one in asdict(baseline).items() if name != "samples"}
    lines = ",\n".join(f"  {json.dumps(asdict(one))}" for one in baseline.samples)
    write_text_file(file, f'{json.dumps(values)[:-1]}, "samples": [\n{lines}\n]}}\n')


def load_baseline(file: Path) -> Baseline:
    """Read a baseline; raises InputError."""
    from pydantic import TypeAdapter, ValidationError  # 0.1 s

    hint = "Name a file that --save-baseline has written."
    try:
        values = json.loads(read_text_file(file))
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}", hint=hint) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is not JSON", hint=hint) from error
    if not isinstance(values, dict) or values.get("kind") != KIND:
        raise InputError(f"{file} is not a baseline", hint=hint)
    if values.get("schema_version") != SCHEMA_VERSION:
        raise InputError(
            f"{file} is of schema_version {sanitize_short(str(values.get('schema_version')))}, "
            f"and must be of {SCHEMA_VERSION}",
            hint=HINT,
        )
    try:
        found = TypeAdapter(Baseline).validate_python(values)
        numbers = (took for one in found.samples for turn in one.turns for took in turn.values())
        if not all(map(isfinite, numbers)):
            raise InputError(f"{file} is damaged: a duration is not finite", hint=HINT)
        return found
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        what = sanitize_short(f"{where}: {first['msg']}")
        raise InputError(f"{file} is damaged: {what}", hint=HINT) from error


# ── comparing ────────────────────────────────────────────────────────────────


def compare_baselines(before: Baseline, after: Baseline, file: Path) -> list[Comparison]:
    """Compare two runs, variant by variant; raises InputError if they are not comparable.

    file: where ``before`` comes from, for messages.
    """
    old, new = _group(before.samples), _group(after.samples)
    if len(old) == len(new) == 1:  # a profile against another one
        old = {name: samples for name in new for samples in old.values()}
    for name in old.keys() ^ new.keys():
        where = "not in the run" if name in old else "not in the baseline"
        raise _refuse(file, f"profile {name} is {where}")
    for name in new:
        _check_comparable(before, after, old[name], new[name], file)
    return [_compare(name, old[name], new[name]) for name in new]


def _group(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    """Group samples by their variant."""
    groups: dict[str, list[Sample]] = {}
    for one in samples:
        groups.setdefault(one.variant, []).append(one)
    return groups


_CONDITIONS = ("fast", "engine", "user")
"""What must be the same in all samples of both runs."""


def _check_comparable(
    before: Baseline, after: Baseline, old: Sequence[Sample], new: Sequence[Sample], file: Path
) -> None:
    for name in _CONDITIONS:
        was, now = (
            " and ".join(sorted({str(getattr(one, name)) for one in side})) for side in (old, new)
        )
        if was != now:
            raise _refuse(file, f"{name} was {was}, and is {now}")
    known, found = ({one.digest: one for one in side} for side in (old, new))
    for digest in known.keys() ^ found.keys():
        one = known.get(digest) or found[digest]
        where = "is not in this run" if digest in known else "is not in the baseline"
        raise _refuse(file, f"the recording {one.recording}, or its present content, {where}")
    for digest, one in found.items():
        for name in ("labels", "channel"):
            if getattr(one, name) != getattr(known[digest], name):
                raise _refuse(file, f"the {name} of {one.recording} changed")
    if not new[0].fast and new[0].engine == "local" and before.machine != after.machine:
        machines = [", ".join(one.machine.values()) for one in (before, after)]
        raise _refuse(file, f"local engines ran on {machines[0]}, and run on {machines[1]}")


def _refuse(file: Path, why: str) -> InputError:
    return InputError(f"{file} cannot be compared with: {why}", hint=HINT)


def _compare(variant: str, old: Sequence[Sample], new: Sequence[Sample]) -> Comparison:
    exact = new[0].fast
    changes = [
        change
        for name in METRICS
        for change in find_changes(name, "ms", _pair(name, old, new), FLOOR, exact=exact)
    ]
    rates = [
        compare_rate(name, pairs, exact=exact, higher_is_better=metric.higher_is_better)
        for name, metric in INTERACTION_METRICS.items()
        if (pairs := _pair_rates(name, old, new))
    ]
    before, after = (
        sum(MOUTH_TO_EAR.name in turn for one in side for turn in one.turns) for side in (old, new)
    )
    return Comparison(variant, (before, after), changes, rates)


def _pair(name: str, old: Sequence[Sample], new: Sequence[Sample]) -> list[Pair]:
    """Pair the values of a duration: of the same turn, else of the same recording."""
    pairs = []
    for digest in dict.fromkeys(one.digest for one in new):
        before, after = ([one.turns for one in side if one.digest == digest] for side in (old, new))
        lengths = {len(turns) for turns in (*before, *after)}
        if len(lengths) == 1:
            each = range(lengths.pop())
            pairs += [
                Pair(
                    [turns[at][name] for turns in before if name in turns[at]],
                    [turns[at][name] for turns in after if name in turns[at]],
                )
                for at in each
            ]
        else:
            pairs.append(
                Pair(
                    [turn[name] for turns in before for turn in turns if name in turn],
                    [turn[name] for turns in after for turn in turns if name in turn],
                )
            )
    return pairs


def _pair_rates(
    name: str, old: Sequence[Sample], new: Sequence[Sample]
) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Pair (events, of how many) of each recording, summed over its repeats."""

    def add_up(samples: Sequence[Sample], digest: str) -> tuple[int, int]:
        own = [one.rates.get(name, (0, 0)) for one in samples if one.digest == digest]
        return sum(hits for hits, _ in own), sum(n for _, n in own)

    pairs = [
        (add_up(old, digest), add_up(new, digest))
        for digest in dict.fromkeys(one.digest for one in new)
    ]
    return [pair for pair in pairs if pair[0][1] or pair[1][1]]
