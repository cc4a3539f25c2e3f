"""Keeps the results of a corpus in a folder or below a URL: resumable, complete at any moment.

    plan.json               the units that it is about, in order
    results/ID.json         what a unit came to
    failures/ID.json        why a unit could not be measured
    units/ID/               its session, as ``replay --out`` keeps it

A file is written as a whole, so a file that exists is complete.  What has a result is not measured
again; a unit that failed is.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from voicecli.audio.recorder import lock_folder
from voicecli.corpus.plan import Plan, Shard
from voicecli.corpus.storage import LocalStorage, Storage, is_url, open_storage
from voicecli.corpus.unit import Unit, UnitResult, decode, encode
from voicecli.errors import InputError, UsageError
from voicecli.sanitize import sanitize_short

T = TypeVar("T")

SCHEMA_VERSION = 1
"""Raised when an earlier file can no longer be read; not for new optional keys."""

PLAN = "plan.json"
RESULTS = "results"
FAILURES = "failures"
UNITS = "units"

FETCHED = 256
"""Results that are fetched side by side from a service, by up to READERS threads."""

READERS = 16


@dataclass(frozen=True, slots=True)
class Store:
    """The results of a corpus."""

    storage: Storage

    @property
    def location(self) -> str:
        """Its folder or URL."""
        return self.storage.location

    @property
    def sessions(self) -> str:
        """Where the sessions of its units are kept; see ``open_session_folder``."""
        return f"{self.location}/{UNITS}"

    @contextmanager
    def open_sessions(self) -> Iterator[Callable[[Unit], Path]]:
        """Yield a function that returns a folder of this machine with a unit's session."""
        with ExitStack() as stack:

            def find_folder(unit: Unit) -> Path:
                name = f"{UNITS}/{unit.id}"
                if isinstance(self.storage, LocalStorage):
                    return self.storage.folder / name
                fetched = Path(stack.enter_context(TemporaryDirectory(prefix="voicecli-")))
                with _explain_reading(self.location):
                    self.storage.download(name, fetched)
                return fetched

            yield find_folder

    def list_measured(self) -> set[str]:
        """List the ids of the units that have a result other than a failure; raises InputError."""
        with _explain_reading(self.location):
            return {name.removesuffix(".json") for name in self.storage.list_names(RESULTS)}

    def find_result(self, unit: Unit) -> UnitResult | None:
        """Return what ``unit`` came to; None if it has not been run.  Raises InputError."""
        for folder in (RESULTS, FAILURES):
            name = f"{folder}/{unit.id}.json"
            if (values := self._read(name)) is not None:
                values.pop("schema_version")
                return self._decode(name, values, UnitResult)
        return None

    def write_result(self, result: UnitResult) -> None:
        """Keep ``result``; raises UsageError if it cannot be written."""
        folder = RESULTS if result.failure is None else FAILURES
        values = encode(result) | {"schema_version": SCHEMA_VERSION}
        self._write(f"{folder}/{result.unit.id}.json", values)

    def discard(self, units: Iterable[Unit]) -> None:
        """Delete what ``units`` came to, so that they are measured again."""
        for unit in units:
            for folder in (RESULTS, FAILURES):
                with _explain_writing(self.location):
                    self.storage.delete(f"{folder}/{unit.id}.json")

    def write_plan(self, plan: Plan) -> None:
        """Keep what it is about; raises UsageError if that cannot be written."""
        distinct: dict[int, int] = {}  # units share their settings, of 3 KB
        units = []
        for unit in plan.units:
            number = distinct.setdefault(id(unit.settings), len(distinct))
            units.append(encode(unit) | {"settings": number})
        settings = {id(unit.settings): unit.settings for unit in plan.units}
        values = {
            "schema_version": SCHEMA_VERSION,
            "shard": [plan.shard.number, plan.shard.count],
            "settings": list(settings.values()),
            "units": units,
            "positions": plan.positions,
            "duplicates": [list(map(str, pair)) for pair in plan.duplicates],
        }
        self._write(PLAN, values)

    def load_plan(self) -> Plan:
        """Return what it is about; raises InputError."""
        values = self._read(PLAN)
        if values is None:
            raise InputError(
                f"there is no {PLAN} in {self.location}", hint="Name the --out of a corpus."
            )
        try:
            settings = values["settings"]
            units = [
                replace(
                    self._decode(PLAN, one | {"settings": {}}, Unit),
                    settings=settings[one["settings"]],
                )
                for one in values["units"]
            ]
            return Plan(
                units=tuple(units),
                positions=tuple(values["positions"]),
                duplicates=tuple((Path(one), Path(other)) for one, other in values["duplicates"]),
                shard=Shard(*values["shard"]),
            )
        except (LookupError, TypeError, ValueError) as error:
            raise self._make_error(PLAN, f"damaged: {sanitize_short(repr(error))}") from None

    def iterate_results(self, units: Iterable[Unit]) -> Iterator[UnitResult]:
        """Yield the results of ``units`` in order; few are in memory at a time.

        Units that have not been run are left out.  Raises InputError.
        """
        local = isinstance(self.storage, LocalStorage)
        find = map(self.find_result, units) if local else self._fetch_results(iter(units))
        yield from (one for one in find if one is not None)

    def _fetch_results(self, units: Iterator[Unit]) -> Iterator[UnitResult | None]:
        with ThreadPoolExecutor(READERS, "fetch results") as readers:
            while some := list(islice(units, FETCHED)):
                yield from readers.map(self.find_result, some)

    def _write(self, name: str, values: Any) -> None:
        with _explain_writing(f"{self.location}/{name}"):
            self.storage.write(name, json.dumps(values, allow_nan=False) + "\n")

    def _read(self, name: str) -> dict[str, Any] | None:
        """Return the content of a file; None if there is none.  Raises InputError."""
        with _explain_reading(f"{self.location}/{name}"):
            try:
                content = self.storage.read(name)
            except FileNotFoundError:
                return None
        try:
            values = json.loads(content)
        except (ValueError, RecursionError):
            raise self._make_error(name, "not valid JSON") from None
        if not isinstance(values, dict):
            raise self._make_error(name, "not a JSON object")
        if (schema := values.get("schema_version")) != SCHEMA_VERSION:
            found = sanitize_short(json.dumps(schema))
            raise self._make_error(name, f"schema_version is {found}, and must be {SCHEMA_VERSION}")
        return values

    def _decode(self, name: str, values: Any, kind: type[T]) -> T:
        try:
            found: T = decode(values, kind)
        except ValueError as error:
            raise self._make_error(name, sanitize_short(str(error))) from None
        return found

    def _make_error(self, name: str, what: str) -> InputError:
        hint = "Delete it; it is made again then."
        return InputError(f"{self.location}/{name}: {what}", hint=hint)


@contextmanager
def _explain_writing(place: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{place} cannot be written: {error.strerror or error}",
            hint="Make room or name another --out; what is done is kept.",
        ) from error


@contextmanager
def _explain_reading(place: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{place} cannot be read: {error.strerror or error}") from error


@contextmanager
def open_store(location: str | Path) -> Iterator[Store]:
    """Open the results of a corpus for writing.

    Raises UsageError if another process has the folder open; below a URL, nobody knows.
    """
    storage = open_storage(location)
    if not isinstance(storage, LocalStorage):
        yield Store(storage)
        return
    try:
        storage.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{location} cannot be written to: {error.strerror}", hint="Name another --out."
        ) from error
    with lock_folder(storage.folder):
        yield Store(storage)


def is_store(location: str) -> bool:
    """Whether the results of a corpus are kept there, not those of a session."""
    return is_url(location) or (Path(location) / PLAN).is_file()


@asynccontextmanager
async def open_session_folder(sessions: str | None, unit: Unit) -> AsyncGenerator[Path, None]:
    """Yield a folder for the session of ``unit``.

    sessions: the folder or URL below which it is kept, by the unit's id; None: nowhere.
    """
    if sessions is None:
        with TemporaryDirectory(prefix="voicecli-") as name:
            yield Path(name)
        return
    storage = open_storage(sessions)
    if isinstance(storage, LocalStorage):
        folder = storage.folder / unit.id
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with TemporaryDirectory(prefix="voicecli-") as name:
        yield Path(name)
        await asyncio.to_thread(storage.upload, Path(name), unit.id)
