"""Keeps the results of a corpus in a folder: resumable, complete at any moment.

    plan.json               the units that the folder is about, in order
    results/ID.json         what a unit came to
    units/ID/               its session, as ``replay --out`` keeps it

A result is written to a temporary file and renamed, so a file that exists is whole.  What has a
result is not measured again; a unit that failed is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voicecli.audio.recorder import lock_folder
from voicecli.corpus.unit import Unit, UnitResult, decode, encode
from voicecli.environment.files import write_text_file
from voicecli.errors import InputError, UsageError
from voicecli.sanitize import sanitize_short

SCHEMA_VERSION = 1
"""Raised when an earlier file can no longer be read; not for new optional keys."""

PLAN = "plan.json"
RESULTS = "results"
UNITS = "units"


@dataclass(frozen=True, slots=True)
class Store:
    """The folder of a corpus."""

    folder: Path

    def find_unit_folder(self, unit: Unit) -> Path:
        """Return where the unit's session is kept."""
        return self.folder / UNITS / unit.id

    def is_measured(self, unit: Unit) -> bool:
        """Whether there is a result of ``unit``, other than a failure."""
        found = self.find_result(unit)
        return found is not None and found.failure is None

    def find_result(self, unit: Unit) -> UnitResult | None:
        """Return what ``unit`` came to; None if it has not been run.  Raises InputError."""
        path = self.folder / RESULTS / f"{unit.id}.json"
        return load_result(path) if path.exists() else None

    def write_result(self, result: UnitResult) -> None:
        """Keep ``result``; raises UsageError if it cannot be written."""
        values = {"schema_version": SCHEMA_VERSION} | encode(result)
        self._write(Path(RESULTS, f"{result.unit.id}.json"), values)

    def discard(self, units: Iterable[Unit]) -> None:
        """Delete what ``units`` came to, so that they are measured again."""
        for unit in units:
            (self.folder / RESULTS / f"{unit.id}.json").unlink(missing_ok=True)

    def write_plan(self, units: Sequence[Unit]) -> None:
        """Keep the units that the folder is about; raises UsageError if they cannot be written."""
        self._write(Path(PLAN), {"schema_version": SCHEMA_VERSION, "units": encode(units)})

    def load_plan(self) -> tuple[Unit, ...]:
        """Return the units that the folder is about, in order; raises InputError."""
        path = self.folder / PLAN
        units: tuple[Unit, ...] = _decode(path, _read(path).get("units"), tuple[Unit, ...])
        return units

    def iterate_results(self, units: Iterable[Unit] | None = None) -> Iterator[UnitResult]:
        """Yield the results of ``units``, or of the plan, in order; only one is in memory.

        Units that have not been run are left out.  Raises InputError.
        """
        for unit in self.load_plan() if units is None else units:
            if (found := self.find_result(unit)) is not None:
                yield found

    def _write(self, name: Path, values: Any) -> None:
        path = self.folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text_file(path, json.dumps(values, allow_nan=False) + "\n")
        except OSError as error:
            raise UsageError(
                f"{path} cannot be written: {error.strerror or error}",
                hint="Make room or name another --out; what is done is kept.",
            ) from error


@contextmanager
def open_store(folder: Path) -> Iterator[Store]:
    """Open the folder of a corpus for writing; raises UsageError if another process has it open."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be written to: {error.strerror}", hint="Name another --out."
        ) from error
    with lock_folder(folder):
        yield Store(folder)


def is_store(folder: Path) -> bool:
    """Whether ``folder`` holds the results of a corpus, not those of a session."""
    return (folder / PLAN).is_file()


def load_result(path: Path) -> UnitResult:
    """Load the result of a unit; raises InputError."""
    values = _read(path)
    values.pop("schema_version", None)
    result: UnitResult = _decode(path, values, UnitResult)
    return result


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError):
        raise _make_error(path, "not valid JSON") from None
    if not isinstance(values, dict):
        raise _make_error(path, "not a JSON object")
    if (schema := values.get("schema_version")) != SCHEMA_VERSION:
        found = sanitize_short(json.dumps(schema))
        raise _make_error(path, f"schema_version is {found}, and must be {SCHEMA_VERSION}")
    return values


def _decode(path: Path, values: Any, kind: Any) -> Any:
    try:
        return decode(values, kind)
    except ValueError as error:
        raise _make_error(path, sanitize_short(str(error))) from None


def _make_error(path: Path, what: str) -> InputError:
    return InputError(f"{path}: {what}", hint="Delete it; it is measured again then.")
