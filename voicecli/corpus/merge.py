"""Joins the shards of a run, which machines of their own measured, to the results of the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

from voicecli.corpus.plan import Plan
from voicecli.corpus.store import Store
from voicecli.corpus.unit import Unit, UnitResult
from voicecli.errors import InputError
from voicecli.report.format import format_count

MAX_SHOWN = 10
"""Missing shards that are named."""

CONDITIONS = ("version", "user", "fast")
"""What all units of a run have in common."""


class Results(Protocol):
    """What the units of a run came to, in one place or in several."""

    def iterate_results(self, units: Iterable[Unit]) -> Iterator[UnitResult]:
        """Yield the results of ``units`` in order; units that have not been run are left out."""

    def open_sessions(self) -> AbstractContextManager[Callable[[Unit], Path]]:
        """Yield a function that returns a folder of this machine with a unit's session."""


@dataclass(frozen=True, slots=True)
class MergedStore:
    """The results of all shards of a run, in the order of a run of the whole.

    duplicates: recordings left out, with the one that each equals, also of another shard.
    missing: numbers of the shards that are not there.
    """

    stores: dict[str, Store]
    units: tuple[Unit, ...]
    duplicates: tuple[tuple[Path, Path], ...]
    missing: tuple[int, ...]
    count: int

    def iterate_results(self, units: Iterable[Unit]) -> Iterator[UnitResult]:
        """See ``Results``."""
        for unit in units:
            if (result := self.stores[unit.id].find_result(unit)) is not None:
                yield result

    @contextmanager
    def open_sessions(self) -> Iterator[Callable[[Unit], Path]]:
        """See ``Results``."""
        with ExitStack() as stack:
            opened = {
                store.location: stack.enter_context(store.open_sessions())
                for store in {id(one): one for one in self.stores.values()}.values()
            }
            yield lambda unit: opened[self.stores[unit.id].location](unit)

    def check(self) -> None:
        """Raise InputError if shards are missing."""
        if self.missing:
            shown = ", ".join(f"{one}/{self.count}" for one in self.missing[:MAX_SHOWN])
            more = len(self.missing) - MAX_SHOWN
            raise InputError(
                f"{format_count(len(self.missing), 'shards')} of {self.count} missing: {shown}"
                f"{f' and {more} more' if more > 0 else ''}",
                hint="Replay them, and merge all.",
            )


def merge_stores(stores: Sequence[Store]) -> MergedStore:
    """Join the shards in ``stores``, in any order.

    Raises InputError where two are the same shard, or they are not shards of one run.
    """
    plans = [(store, store.load_plan()) for store in stores]
    (first, plan), *others = plans
    seen = {plan.shard.number: first}
    for store, other in others:
        _check_alike((first, plan), (store, other))
        if (same := seen.setdefault(other.shard.number, store)) is not store:
            raise InputError(
                f"{same.location} and {store.location} are both shard {other.shard}",
                hint="Name each shard once.",
            )
    placed = sorted(
        (
            (position, unit, store)
            for store, one in plans
            for position, unit in zip(one.positions, one.units, strict=True)
        ),
        key=lambda item: item[0],
    )
    units: dict[str, Unit] = {}
    homes: dict[str, Store] = {}
    duplicates = {path: first for _, one in plans for path, first in one.duplicates}
    for _, unit, store in placed:
        same_unit = units.setdefault(unit.id, unit)
        homes.setdefault(unit.id, store)
        if same_unit is not unit:
            duplicates[Path(unit.recording)] = Path(same_unit.recording)
    count = plan.shard.count
    return MergedStore(
        stores=homes,
        units=tuple(units.values()),
        duplicates=tuple(duplicates.items()),
        missing=tuple(one for one in range(1, count + 1) if one not in seen),
        count=count,
    )


def _check_alike(first: tuple[Store, Plan], other: tuple[Store, Plan]) -> None:
    """Raise InputError unless both are shards of one run."""
    (here, plan), (there, found) = first, other
    differences = []
    if plan.shard.count != found.shard.count:
        differences.append(f"shard {plan.shard} and shard {found.shard}")
    for one, another in islice(zip(plan.units, found.units, strict=False), 1):
        for name in CONDITIONS:
            values = getattr(one, name), getattr(another, name)
            if values[0] != values[1]:
                differences.append(f"{name} {values[0]} and {values[1]}")
    settings = [{one.variant: one.settings for one in each.units} for each in (plan, found)]
    for variant in settings[0].keys() & settings[1].keys():
        if settings[0][variant] != settings[1][variant]:
            differences.append(f"other settings of {variant}")
    if differences:
        raise InputError(
            f"{here.location} and {there.location} are not of one run: {'; '.join(differences)}",
            hint="Merge what the same command measured, but for --shard and --out.",
        )
