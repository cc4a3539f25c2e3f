"""The virtual loudspeaker, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voicecli import clock
from voicecli.audio.virtual import VirtualSpeaker

LOUD = np.full(24, 9000, np.int16).tobytes()
"""1 ms at 24 kHz."""


def speaking(main: Callable[[VirtualSpeaker], object]) -> VirtualSpeaker:
    """``main`` in virtual time, with a loudspeaker that has begun a reply."""

    async def begun() -> VirtualSpeaker:
        speaker = VirtualSpeaker(24_000, 0.06)
        speaker.start()
        await main(speaker)  # type: ignore[misc]
        return speaker

    return clock.run(begun(), virtual=True)


async def finished(speaker: VirtualSpeaker) -> float:
    await speaker.finish()
    return clock.now()


def test_a_reply_starts_with_its_first_audible_sample_and_ends_with_its_last() -> None:
    async def main(speaker: VirtualSpeaker) -> None:
        started = asyncio.create_task(speaker.started())
        await asyncio.sleep(1.0)
        speaker.write(bytes(2 * 480) + 100 * LOUD)  # 20 ms of silence first
        assert await started == pytest.approx(1.02)
        assert clock.now() == pytest.approx(1.02)
        speaker.end()
        assert await finished(speaker) == pytest.approx(1.12)
        assert speaker.heard == 120 * 24
        assert speaker.queued == 0
        assert await speaker.started() == pytest.approx(1.02)  # also of one who asks later

    speaking(main)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(1, 400)), min_size=1, max_size=12))
def test_the_end_is_exact_however_late_the_audio_comes(writes: list[tuple[int, int]]) -> None:
    """Checked against what it played: milliseconds of pause, milliseconds of audio."""

    async def main(speaker: VirtualSpeaker) -> None:
        started = asyncio.create_task(speaker.started())
        ended = asyncio.create_task(finished(speaker))
        for pause, count in writes:
            await asyncio.sleep(pause / 1000)
            speaker.write(count * LOUD)
        speaker.end()
        at, until = await started, await ended
        played = np.flatnonzero(speaker.take(0.0, 24 * 10_000))
        assert len(played) == 24 * sum(count for _, count in writes)
        assert at == pytest.approx(int(played[0]) / 24_000, abs=1e-9)
        sounded = int(played[-1] + 1) / 24_000  # maybe before it was said to have ended
        assert until == pytest.approx(max(sounded, sum(p for p, _ in writes) / 1000), abs=1e-7)

    speaking(main)


def test_a_hold_moves_the_start_and_the_end() -> None:
    async def main(speaker: VirtualSpeaker) -> None:
        started = asyncio.create_task(speaker.started())
        ended = asyncio.create_task(finished(speaker))
        speaker.write(bytes(2 * 2400) + 200 * LOUD)  # audible after 100 ms
        speaker.end()
        await asyncio.sleep(0.05)
        speaker.hold()
        await asyncio.sleep(0.25)
        speaker.resume()
        assert await started == pytest.approx(0.35)
        await asyncio.sleep(0.05)
        speaker.hold()
        await asyncio.sleep(1.0)
        assert not ended.done()
        assert speaker.heard == 150 * 24
        speaker.resume()
        assert await ended == pytest.approx(1.55)
        assert speaker.heard == 300 * 24
        assert speaker.underruns == 0

    speaking(main)


def test_a_clear_by_another_task_ends_the_waiting_at_once() -> None:
    async def main(speaker: VirtualSpeaker) -> None:
        ended = asyncio.create_task(finished(speaker))
        speaker.write(1000 * LOUD)
        await asyncio.sleep(0.4)
        assert speaker.clear() == 400 * 24
        assert await ended == pytest.approx(0.4)
        speaker.write(1000 * LOUD)
        assert (speaker.heard, speaker.queued) == (400 * 24, 0)
        assert await finished(speaker) == pytest.approx(0.4)

    speaking(main)


def test_a_clear_before_anything_sounded() -> None:
    async def main(speaker: VirtualSpeaker) -> None:
        started = asyncio.create_task(speaker.started())
        speaker.write(10 * LOUD)  # waits for the pre-buffer
        await asyncio.sleep(0.5)
        assert speaker.clear() == 0
        assert await finished(speaker) == pytest.approx(0.5)
        await asyncio.sleep(0.5)
        assert not started.done()
        started.cancel()
        assert not speaker.take(0.0, 24_000).any()

    speaking(main)


def test_a_reply_that_is_silent_throughout_ends_and_never_starts() -> None:
    async def main(speaker: VirtualSpeaker) -> None:
        started = asyncio.create_task(speaker.started())
        speaker.write(bytes(2 * 24_000))
        speaker.end()
        assert await finished(speaker) == pytest.approx(1.0)
        await asyncio.sleep(0.1)
        assert not started.done()
        started.cancel()

    speaking(main)


def test_a_reply_without_audio_ends_when_it_is_said_to() -> None:
    async def main(speaker: VirtualSpeaker) -> None:
        ended = asyncio.create_task(finished(speaker))
        await asyncio.sleep(0.3)
        assert not ended.done()
        speaker.end()
        assert await ended == pytest.approx(0.3)

    speaking(main)


def test_one_reply_after_the_other() -> None:
    async def main(speaker: VirtualSpeaker) -> None:
        for turn in range(3):
            speaker.start()
            speaker.write(100 * LOUD)
            speaker.end()
            assert speaker.heard == 0
            assert await speaker.started() == pytest.approx(0.1 * turn)
            assert await finished(speaker) == pytest.approx(0.1 * (turn + 1))
        assert len(np.flatnonzero(speaker.take(0.0, 24_000))) == 300 * 24

    speaking(main)


def test_ducked_it_is_softer_and_no_later() -> None:
    async def main(speaker: VirtualSpeaker) -> None:
        speaker.write(200 * LOUD)
        speaker.end()
        await asyncio.sleep(0.05)
        speaker.duck()
        assert speaker.settles_at == pytest.approx(0.05 + 240 / 24_000)
        assert await finished(speaker) == pytest.approx(0.2)
        out = speaker.take(0.0, 4800)
        assert set(out[:1200].tolist()) == {9000}
        assert set(out[1200 + 240 :].tolist()) == {900}

    speaking(main)


def test_a_waiter_for_a_low_queue_is_woken_at_that_moment_and_not_while_it_is_held() -> None:
    async def main(speaker: VirtualSpeaker) -> None:
        await speaker.drain_to(0.1)  # nothing is queued
        speaker.write(1000 * LOUD)
        await speaker.drain_to(0.4)
        assert (clock.now(), speaker.queued) == (pytest.approx(0.6), pytest.approx(0.4))
        speaker.hold()
        low = asyncio.create_task(speaker.drain_to(0.1))
        await asyncio.sleep(5.0)
        assert not low.done()
        speaker.resume()
        await low
        assert clock.now() == pytest.approx(5.9)

    speaking(main)
