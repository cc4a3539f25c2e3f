"""The folder of a corpus: what is written is read again; what is damaged is named."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from voicecli.corpus.plan import Plan, Shard
from voicecli.corpus.storage import open_storage
from voicecli.corpus.store import PLAN, RESULTS, Store, is_store, open_session_folder, open_store
from voicecli.corpus.tally import tally_results
from voicecli.corpus.unit import Failure, Unit, UnitResult
from voicecli.errors import InputError, UsageError
from voicecli.profile import load_profile

SETTINGS = load_profile("scripted").resolved()


def make_unit(**changes: Any) -> Unit:
    return replace(
        Unit(
            recording="calls/one.wav",
            profile="scripted",
            settings=SETTINGS,
            digests={"recording": "a1", "labels": "b2"},
        ),
        **changes,
    )


@pytest.mark.parametrize(
    "where", ["{tmp_path}/out", "memory://{tmp_path}/out", "file://{tmp_path}/x"]
)
def test_results_and_plan_come_back(tmp_path: Path, where: str) -> None:
    location = where.format(tmp_path=tmp_path)
    units = [make_unit(tags=("x", "y"), channel=1), make_unit(repeat=2, overrides=("a.b=1",))]
    results = [
        UnitResult(unit=units[0], result={"turns": [{"said": "ä", "none": None}]}, lag_ms=1.5),
        UnitResult(unit=units[1], failure=Failure(kind="InputError", message="no", exit_code=2)),
    ]
    plan = Plan(tuple(units), (2, 5), ((Path("a"), Path("b")),), Shard(2, 3))
    with open_store(location) as store:
        store.write_plan(plan)
        for result in reversed(results):
            store.write_result(result)
    assert is_store(location)
    store = Store(open_storage(location))
    assert store.load_plan() == plan
    assert list(store.iterate_results(units)) == results
    assert store.list_measured() == {units[0].id}
    with open_store(location) as store:
        store.discard(units)
    assert list(store.iterate_results(units)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"digests": {"recording": "a2", "labels": "b2"}},
        {"digests": {"recording": "a1"}},
        {"settings": SETTINGS | {"budgets": {}}},
        {"channel": 0},
        {"user": "oblivious"},
        {"fast": True},
        {"repeat": 2},
        {"seed": 2},
        {"version": "0.0.1"},
    ],
)
def test_what_counts_changes_the_id(change: dict[str, Any]) -> None:
    assert make_unit(**change).id != make_unit().id


@pytest.mark.parametrize(
    "change",
    [
        {"recording": "elsewhere/two.wav"},
        {"profile": "other"},
        {"tags": ("a",)},
        {"labels": "one.labels.yaml"},
        {"settings": SETTINGS | {"description": "other words"}},
        {"settings": dict(reversed(SETTINGS.items()))},
    ],
)
def test_names_do_not_change_the_id(change: dict[str, Any]) -> None:
    assert make_unit(**change).id == make_unit().id


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    with open_store(tmp_path), pytest.raises(UsageError, match="another session"):
        open_store(tmp_path).__enter__()
    with open_store(tmp_path):
        pass


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "not a JSON object"),
        ('{"schema_version": 7}', "schema_version is 7, and must be 1"),
        ('{"schema_version": 1}', "unit: Field required"),
        ('{"schema_version": 1, "unit": {"recording": 3}}', "unit.recording: Input should be"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_damage_is_named(tmp_path: Path, text: str, message: str) -> None:
    unit = make_unit()
    path = tmp_path / RESULTS / f"{unit.id}.json"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        Store(open_storage(tmp_path)).find_result(unit)
    assert caught.value.cause.startswith(f"{path}: {message}")


def test_a_result_is_whole_or_absent(tmp_path: Path) -> None:
    """A file that a crash left half written is not a result."""
    with open_store(tmp_path) as store:
        unit = make_unit()
        (tmp_path / RESULTS).mkdir()
        (tmp_path / RESULTS / f"{unit.id}.json.part").write_text('{"schema_ver')
        assert store.find_result(unit) is None
        store.write_plan(Plan((unit,), (0,)))
        store.write_result(UnitResult(unit=unit, result={}))
        assert store.list_measured() == {unit.id}
    assert sorted(one.name for one in tmp_path.iterdir()) == [PLAN, RESULTS]
    assert [one.name for one in (tmp_path / RESULTS).iterdir()] == [f"{unit.id}.json"]


def test_a_result_of_another_shape_is_refused() -> None:
    unit = make_unit()
    for shape in ({}, {"turns": 3}, {"turns": [], "ledger": {}, "cost": {}}):
        with pytest.raises(InputError, match=unit.id):
            tally_results([UnitResult(unit=unit, result=shape)])


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("adl://bucket/run", "pip install adlfs"),
        ("nonsense://bucket/run", "Protocol not known: nonsense"),
        ("sftp://me:secret@host/run", "a password does not belong in a URL"),
    ],
)
def test_a_url_that_cannot_be_used_is_explained(url: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_storage(url)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_session_at_a_url_comes_back(tmp_path: Path) -> None:
    """It is recorded on this machine, and uploaded when it is complete."""
    unit = make_unit()
    url = f"file://{tmp_path}/run/units"

    async def record(fails: bool) -> None:
        async with open_session_folder(url, unit) as folder:
            assert not folder.is_relative_to(tmp_path)
            (folder / "timeline.jsonl").write_text("one line\n")
            assert not fails

    with pytest.raises(AssertionError):
        asyncio.run(record(True))
    assert not (tmp_path / "run").exists()
    asyncio.run(record(False))
    store = Store(open_storage(f"file://{tmp_path}/run"))
    with store.open_sessions() as find_folder:
        folder = find_folder(unit)
        assert (folder / "timeline.jsonl").read_text() == "one line\n"
    assert not folder.exists()
