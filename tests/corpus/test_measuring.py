"""Sessions that have ended are measured in a process of its own, as they would be in this one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from tests.corpus.test_pool import plan
from voicecli import clock
from voicecli.corpus.measuring import EndedSession, open_measuring_process
from voicecli.corpus.unit import UnitResult
from voicecli.corpus.worker import measure_alone
from voicecli.timeline import RESULT, TIMELINE


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[EndedSession, UnitResult]:
    """Hold a session in virtual time; return it, and what was measured with its timeline."""
    folder = tmp_path_factory.mktemp("sessions")
    (unit,) = plan(folder, 1)
    result = measure_alone(unit, str(folder))
    assert result.result is not None
    session = EndedSession(
        unit=unit,
        folder=folder / unit.id,
        warnings=result.result["warnings"],
        took_s=result.took_s,
    )
    return session, result


def test_the_process_measures_the_same_and_keeps_it(
    measured: tuple[EndedSession, UnitResult],
) -> None:
    session, expected = measured
    kept = session.folder / RESULT
    before = kept.read_bytes()
    kept.unlink()

    async def main() -> UnitResult:
        async with open_measuring_process() as process:
            return await process.measure(session)

    assert clock.run(main()) == expected
    assert kept.read_bytes() == before


def test_what_cannot_be_measured_is_a_failure_and_the_next_is_measured(
    measured: tuple[EndedSession, UnitResult], tmp_path: Path
) -> None:
    session, expected = measured
    (tmp_path / TIMELINE).write_text("no timeline\n")

    async def main() -> list[UnitResult]:
        async with open_measuring_process() as process:
            both = (replace(session, folder=tmp_path), session)
            return await asyncio.gather(*map(process.measure, both))

    failed, result = clock.run(main())
    assert failed.failure is not None
    assert failed.failure.exit_code == 2
    assert failed.failure.message.startswith(f"{tmp_path}/{TIMELINE}:1: ")
    assert result == expected


def test_an_answer_that_nobody_waits_for_is_not_taken_for_another(
    measured: tuple[EndedSession, UnitResult], tmp_path: Path
) -> None:
    session, expected = measured

    async def main() -> UnitResult:
        async with open_measuring_process() as process:
            cancelled = asyncio.create_task(process.measure(replace(session, folder=tmp_path)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            cancelled.cancel()
            await asyncio.wait([cancelled])
            return await process.measure(session)

    assert clock.run(main()) == expected


def test_when_the_process_has_ended_this_one_measures(
    measured: tuple[EndedSession, UnitResult],
) -> None:
    session, expected = measured

    async def main() -> list[UnitResult]:
        async with open_measuring_process() as process:
            process.kill()
            return [await process.measure(session) for _ in range(2)]

    assert clock.run(main()) == [expected, expected]
