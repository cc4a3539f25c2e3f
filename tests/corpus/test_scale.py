"""Ten thousand units: planned, resumed and merged within seconds, in little memory."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.corpus.test_pool import plan
from voicecli.corpus.manifest import find_recordings
from voicecli.corpus.merge import merge_stores
from voicecli.corpus.plan import Conditions, Plan, Shard, load_variants, plan_units
from voicecli.corpus.store import Store, open_store
from voicecli.corpus.tally import tally_results
from voicecli.corpus.unit import UnitResult
from voicecli.corpus.worker import measure_alone

RECORDINGS, REPEATS = 1_000, 5
UNITS = RECORDINGS * REPEATS * 2
SHARDS = 4

MOST_PLANNING, MOST_MERGING = 5.0, 30.0
"""Seconds of processor time."""

MOST_MEMORY, MOST_GROWTH = 60, 25
"""Megabytes: of all plans, and of the sums between 1,000 and 10,000 results."""


def measure_memory() -> float:
    return psutil.Process().memory_info().rss / 2**20


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> list[Plan]:
    """Plan the shards, in all ten thousand units."""
    folder = tmp_path_factory.mktemp("recordings")
    for number in range(RECORDINGS):
        (folder / f"{number:05}.wav").write_bytes(b"%d" % number)
    variants = load_variants(["scripted"], (), [(), ("tts.speed=1.1",)])
    before, began = measure_memory(), time.process_time()
    recordings = find_recordings([str(folder)])
    conditions = Conditions(fast=True, repeats=REPEATS)
    found = [
        plan_units(recordings, variants, conditions, Shard(number, SHARDS))
        for number in range(1, SHARDS + 1)
    ]
    took = time.process_time() - began
    assert sum(len(one.units) for one in found) == UNITS
    assert took < MOST_PLANNING
    assert measure_memory() - before < MOST_MEMORY
    return found


@pytest.fixture(scope="module")
def stores(plans: list[Plan], tmp_path_factory: pytest.TempPathFactory) -> list[Store]:
    """Give every unit a result: what one of them came to."""
    folder = tmp_path_factory.mktemp("shards")
    (unit,) = plan(folder, 1)
    result = measure_alone(unit, None)
    assert result.result is not None
    found = []
    for one in plans:
        with open_store(folder / str(one.shard.number)) as store:
            store.write_plan(one)
            for unit in one.units:
                store.write_result(replace(result, unit=unit))
            found.append(store)
    return found


def test_planning_and_resuming_are_quick(plans: list[Plan], stores: list[Store]) -> None:
    began = time.process_time()
    left = [
        unit
        for one, store in zip(plans, stores, strict=True)
        for measured in [store.list_measured()]
        for unit in one.units
        if unit.id not in measured
    ]
    assert left == []
    assert time.process_time() - began < MOST_PLANNING


def test_a_kept_plan_comes_back_whole(plans: list[Plan], stores: list[Store]) -> None:
    assert [one.load_plan() for one in stores] == plans
    loaded = stores[0].load_plan().units
    assert len({id(unit.settings) for unit in loaded}) == 2


def test_merging_is_quick_and_its_memory_flat(stores: list[Store]) -> None:
    """Memory depends on the recordings, of which each has a row, and not on the results."""
    sizes = []

    def watch(results: Iterable[UnitResult]) -> Iterator[UnitResult]:
        for number, one in enumerate(results, 1):
            if number % (UNITS // 10) == 0:
                sizes.append(measure_memory())
            yield one

    merged = merge_stores(stores)
    began = time.process_time()
    tally = tally_results(watch(merged.iterate_results(merged.units)))
    took = time.process_time() - began
    assert tally.whole.units == UNITS
    assert len(tally.recordings) == 2 * RECORDINGS
    assert took < MOST_MERGING
    assert sizes[-1] - sizes[0] < MOST_GROWTH


def test_one_damaged_result_of_many_is_named(stores: list[Store], plans: list[Plan]) -> None:
    unit = plans[2].units[7]
    file = Path(stores[2].location, "results", f"{unit.id}.json")
    file.write_text(file.read_text()[:-20])
    with pytest.raises(Exception, match=f"{unit.id}.json: not valid JSON"):
        tally_results(merge_stores(stores).iterate_results(plans[2].units))
