"""Detectors of sessions side by side share calls of the network, and hear what each hears alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

from tests.audio.vad.test_silero import NAMES, RATE, blocks, noisy, spoken
from voicecli import clock
from voicecli.audio.pcm import Float32Array, samples_of
from voicecli.audio.vad.network import LARGEST_BATCH, WINDOW, SharedNetwork, SileroNetwork, Window
from voicecli.audio.vad.silero import SileroDetector
from voicecli.audio.vad.speech_end import MeasuringDetector
from voicecli.events import Event, SpeechStarted
from voicecli.pipeline.detection import LONGEST_WAIT, detect
from voicecli.units import AudioBlock, AudioFormat, Seconds

FORMAT = AudioFormat(RATE)
BLOCK: Seconds = 0.02


class CountingNetwork(SileroNetwork):
    """Counts the windows that it judges in a call of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.alone = 0

    @override
    def judge(self, window: Float32Array) -> float:
        self.alone += 1
        return super().judge(window)


def create_detector(network: SileroNetwork) -> MeasuringDetector:
    return MeasuringDetector(SileroDetector(FORMAT, 0.2, 0.1, network), FORMAT)


async def hear(
    network: SileroNetwork, said: Sequence[AudioBlock], start: Seconds, waits: list[Seconds]
) -> list[Event]:
    """Pass blocks to a detector at the pace of real time; note how long each takes."""
    detector, events = create_detector(network), list[Event]()
    for index, block in enumerate(said):
        await clock.sleep_until(start + index * BLOCK)
        began = clock.now()
        events += await detect(detector, block)
        events += [one.measure() for one in detector.take_measurements()]
        waits.append(clock.now() - began)
    return events


async def hear_side_by_side(
    said: Sequence[Sequence[AudioBlock]],
) -> tuple[list[list[Event]], int, list[Seconds]]:
    """Return the events of each session, the windows judged alone and how long blocks waited."""
    networks = [CountingNetwork() for _ in said]
    waits: list[Seconds] = []
    heard = await asyncio.gather(
        *(
            hear(network, one, 0.0193 * index % BLOCK, waits)
            for index, (network, one) in enumerate(zip(networks, said, strict=True))
        )
    )
    return list(heard), sum(network.alone for network in networks), waits


def create_sessions(count: int) -> list[list[AudioBlock]]:
    sounds = [noisy(spoken(name), snr) for name in NAMES for snr in (20, 5)]
    cut = [list(blocks(sound)) for sound in sounds]
    return [cut[index % len(cut)][index : index + 150] for index in range(count)]


def hear_alone(said: Sequence[AudioBlock]) -> list[Event]:
    detector = create_detector(SileroNetwork())
    return [event for block in said for event in detector.feed(block)]


def test_many_sessions_share_calls_and_detect_what_each_detects_alone() -> None:
    said = create_sessions(32)
    heard, alone, waits = clock.run(hear_side_by_side(said), virtual=True)

    windows = sum(len(block.pcm) for one in said for block in one) / 2 / WINDOW
    assert heard == [hear_alone(one) for one in said]
    assert all(len(events) >= 2 for events in heard)
    assert alone < windows / 4
    assert 0 < max(waits) <= LONGEST_WAIT + 1e-9


@pytest.mark.parametrize("count", [1, 4])
def test_few_sessions_do_not_wait_for_each_other(count: int) -> None:
    heard, alone, waits = clock.run(hear_side_by_side(said := create_sessions(count)), virtual=True)

    assert heard == [hear_alone(one) for one in said]
    assert alone > 20 * count
    assert max(waits) == 0


def test_a_session_that_ends_while_its_window_waits_disturbs_no_other() -> None:
    said = create_sessions(28)

    async def end_some() -> list[list[Event]]:
        tasks = [
            asyncio.create_task(hear(SileroNetwork(), one, 0.0193 * index % BLOCK, []))
            for index, one in enumerate(said)
        ]
        for task in tasks[::4]:
            await asyncio.sleep(0.0511)
            task.cancel()
        heard = await asyncio.gather(*tasks, return_exceptions=True)
        return [one for one in heard if isinstance(one, list)]

    left = [one for index, one in enumerate(said) if index % 4]
    assert clock.run(end_some(), virtual=True) == [hear_alone(one) for one in left]


def test_what_was_said_before_a_reset_starts_no_speech_after_it() -> None:
    detector = create_detector(SileroNetwork())
    for block in blocks(spoken("0880")):
        hearing = detector.hear(block)
        try:
            next(hearing)
        except StopIteration:
            continue
        detector.reset()  # while the window waits
        with pytest.raises(StopIteration) as heard:
            hearing.send(1.0)
        assert not [event for event in heard.value.value if isinstance(event, SpeechStarted)]


@given(
    st.lists(st.integers(1, LARGEST_BATCH), min_size=5, max_size=30),
    st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=30)
def test_probabilities_do_not_depend_on_the_company(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    shared = SharedNetwork()
    networks = [SileroNetwork() for _ in range(LARGEST_BATCH)]
    alone = [SileroNetwork() for _ in range(LARGEST_BATCH)]
    voice = samples_of(spoken("0880")).astype(np.float32) / 32768
    for size in sizes:
        chosen = rng.permutation(LARGEST_BATCH)[:size]
        starts = rng.integers(0, len(voice) - WINDOW, size)
        windows = [voice[start : start + WINDOW] for start in starts]
        together = shared.judge(
            [Window(networks[index], window) for index, window in zip(chosen, windows, strict=True)]
        )
        for index, window, probability in zip(chosen, windows, together, strict=True):
            assert probability == pytest.approx(alone[index].judge(window), abs=1e-5)
