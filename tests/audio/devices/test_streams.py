"""Microphone and loudspeaker on a virtual sound card, whose recording is the truth."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.recorded_bus import EARLY, Bus, loud
from tests.support.sound_cards import running_virtual_audio, tone, until  # noqa: F401
from tests.support.virtual_audio import RATE, VirtualAudio
from voicecli import clock
from voicecli.audio.devices import Loudspeaker, Microphone, open_loudspeaker, open_microphone
from voicecli.audio.pcm import samples_of
from voicecli.errors import DeviceError
from voicecli.events import Event, Warned
from voicecli.units import AudioBlock, Seconds

pytestmark = pytest.mark.soundcard

PREBUFFER: Seconds = 0.06
BLOCK: Seconds = 0.02


@asynccontextmanager
async def collected(microphone: Microphone) -> AsyncIterator[list[AudioBlock]]:
    """The microphone's blocks, as they come."""
    blocks: list[AudioBlock] = []

    async def collect() -> None:
        async with aclosing(microphone.blocks()) as arriving:
            async for block in arriving:
                blocks.append(block)

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(collect())
        yield blocks
        task.cancel()


@asynccontextmanager
async def events_of(device: Microphone | Loudspeaker) -> AsyncIterator[list[Event]]:
    """The device's events, as they come."""
    events: list[Event] = []

    async def collect() -> None:
        async with aclosing(device.events()) as arriving:
            async for event in arriving:
                events.append(event)

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(collect())
        yield events
        task.cancel()


def is_loud(block: AudioBlock) -> bool:
    return bool(loud(samples_of(block.pcm)).size)


def stretches(signal: NDArray[np.int16], apart: Seconds = 0.1) -> list[tuple[int, int]]:
    """First and last loud sample of each sound."""
    samples = loud(signal)
    cuts = np.flatnonzero(np.diff(samples) > apart * RATE)
    firsts, lasts = samples[np.r_[0, cuts + 1]], samples[np.r_[cuts, len(samples) - 1]]
    return list(zip(firsts.tolist(), lasts.tolist(), strict=True))


def on_clock(bus: Bus, sample: int) -> Seconds:
    """When a sample of the bus sounded, on the session's clock of the loop that has just run."""
    return bus.base + sample / RATE


def origin() -> Seconds:
    value = clock.monotonic_origin()
    assert value is not None
    return value


def dominant(signal: NDArray[np.int16], rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(signal * np.hanning(len(signal))))
    return float(spectrum.argmax() * rate / len(signal))


async def reply(loudspeaker: Loudspeaker, pcm: bytes) -> Seconds:
    """Play a reply that is there at once; when it started."""
    loudspeaker.start()
    loudspeaker.write(pcm)
    loudspeaker.end()
    return await loudspeaker.started()


# ── the loudspeaker ──────────────────────────────────────────────────────────


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 44_100, 48_000])
def test_a_reply_sounds_whole_at_its_level_without_a_gap(virtual_audio: VirtualAudio, rate: int):
    async def main() -> Loudspeaker:
        # Blocks of 20 ms: those of 10 run dry now and then while other tests keep the machine busy.
        async with open_loudspeaker(None, rate, PREBUFFER, 0.02) as loudspeaker:
            pcm = tone(1.0, rate)
            await asyncio.sleep(0.1)
            loudspeaker.start()
            for at in range(0, len(pcm), 2 * (rate // 40)):
                loudspeaker.write(pcm[at : at + 2 * (rate // 40)])
            loudspeaker.end()
            assert loudspeaker.queued == 1.0
            await loudspeaker.finish()
            assert (loudspeaker.heard, loudspeaker.queued) == (rate, 0.0)
            return loudspeaker

    with Bus(virtual_audio) as bus:
        loudspeaker = clock.run(main())
    [(first, last)] = stretches(bus.speaker)
    sound = bus.speaker[first : last + 1]
    assert (last - first + 1) / RATE == pytest.approx(1.0, abs=0.001)
    assert np.diff(loud(sound)).max() < 0.0005 * RATE
    inner = sound[RATE // 10 : -RATE // 10]
    assert np.sqrt(np.mean(inner.astype(float) ** 2)) == pytest.approx(10_000 / 2**0.5, rel=0.01)
    assert dominant(inner, RATE) == pytest.approx(600, abs=2)
    assert (loudspeaker.underruns, loudspeaker.xruns) == (0, 0)


def test_started_and_the_tape_agree_with_the_recording(virtual_audio: VirtualAudio):
    rate = 24_000

    async def main() -> tuple[Seconds, list[Seconds], NDArray[np.int16]]:
        async with open_loudspeaker(None, rate, PREBUFFER) as loudspeaker:
            begun = clock.now()
            await asyncio.sleep(0.3)
            started = []
            for _ in range(5):
                started.append(origin() + await reply(loudspeaker, tone(0.2, rate)))
                await loudspeaker.finish()
                await asyncio.sleep(0.153)
            return origin() + begun, started, loudspeaker.take(begun, round(2.5 * rate))

    with Bus(virtual_audio) as bus:
        begun, started, taken = clock.run(main())
    truth = [bus.base + first / RATE for first, _ in stretches(bus.speaker)]
    errors = [said - true for said, true in zip(started, truth, strict=True)]
    assert abs(statistics.median(errors)) < 0.003
    assert max(map(abs, errors)) < 0.015
    onsets = loud(taken)[np.r_[0, np.flatnonzero(np.diff(loud(taken)) > rate // 10) + 1]]
    assert onsets / rate + begun == pytest.approx(np.array(started), abs=0.001)


def test_silence_follows_a_clear_within_80_ms(virtual_audio: VirtualAudio):
    block = 240  # samples: the virtual card's 10 ms

    async def main() -> list[tuple[Seconds, Seconds]]:
        async with open_loudspeaker(None, 24_000, PREBUFFER) as loudspeaker:
            await asyncio.sleep(0.3)
            orders = []
            errors = []
            for index in range(7):
                started = await reply(loudspeaker, tone(2.0, 24_000))
                await asyncio.sleep(0.15 + 0.003 * index)
                ordered = clock.now()
                heard = loudspeaker.clear()
                errors.append(heard - (ordered - started) * 24_000)
                assert (loudspeaker.heard, loudspeaker.queued) == (heard, 0.0)
                orders.append(origin() + ordered)
                await asyncio.sleep(0.25)
            assert abs(statistics.median(errors)) <= block + 2
            assert max(map(abs, errors)) <= 3 * block  # callbacks that came late
            return orders

    with Bus(virtual_audio) as bus:
        orders = clock.run(main())
    ends = [bus.base + last / RATE for _, last in stretches(bus.speaker)]
    delays = [end - ordered for end, ordered in zip(ends, orders, strict=True)]
    assert statistics.median(delays) < 0.06
    assert max(delays) < 0.08


def test_a_reply_after_a_clear_follows_at_once_and_nothing_of_the_old_one(
    virtual_audio: VirtualAudio,
):
    async def main() -> None:
        async with open_loudspeaker(None, 48_000, PREBUFFER) as loudspeaker:
            await reply(loudspeaker, tone(2.0, 48_000, hertz=400))
            await asyncio.sleep(0.2)
            loudspeaker.clear()
            await reply(loudspeaker, tone(0.3, 48_000, hertz=1000))
            await loudspeaker.finish()

    with Bus(virtual_audio) as bus:
        clock.run(main())
    [(_, last)] = stretches(bus.speaker)
    new = bus.speaker[last - round(0.299 * RATE) : last]
    spectrum = np.abs(np.fft.rfft(new * np.hanning(len(new))))
    hertz = np.fft.rfftfreq(len(new), 1 / RATE)
    assert dominant(new, RATE) == pytest.approx(1000, abs=5)
    assert spectrum[hertz < 500].max() < 1e-3 * spectrum.max()


def test_hold_and_resume_lose_no_sample(virtual_audio: VirtualAudio):
    sound = (8000 * np.sin(np.cumsum(np.linspace(0.02, 0.12, 48_000)))).astype("<i2")

    async def main() -> None:
        async with open_loudspeaker(None, 48_000, PREBUFFER) as loudspeaker:
            await asyncio.sleep(0.1)
            await reply(loudspeaker, sound.tobytes())
            await asyncio.sleep(0.3)
            loudspeaker.hold()
            await asyncio.sleep(0.4)
            loudspeaker.resume()
            await loudspeaker.finish()
            assert loudspeaker.heard == 48_000

    with Bus(virtual_audio) as bus:
        clock.run(main())
    (first, paused), (resumed, last) = stretches(bus.speaker)
    assert (resumed - paused) / RATE == pytest.approx(0.4, abs=0.05)
    # Each from its known end; they overlap by the fade, in which they add up to what was written.
    begin, end = first - loud(sound)[0], last - loud(sound)[-1]
    middle = (paused + resumed) // 2
    joined = np.zeros(48_000)
    joined[: middle - begin] += bus.speaker[begin:middle]
    joined[middle - end :] += bus.speaker[middle : end + 48_000]
    assert np.abs(joined - sound).max() <= 3


def test_ducked_is_20_db_softer(virtual_audio: VirtualAudio):
    async def main() -> None:
        async with open_loudspeaker(None, 48_000, PREBUFFER) as loudspeaker:
            await reply(loudspeaker, tone(1.0, 48_000))
            await asyncio.sleep(0.3)
            loudspeaker.duck()
            await asyncio.sleep(0.3)
            loudspeaker.resume()
            await loudspeaker.finish()

    with Bus(virtual_audio) as bus:
        clock.run(main())
    [(first, last)] = stretches(bus.speaker)
    levels = np.abs(bus.speaker[first : last - 480].astype(float))
    levels = levels[: len(levels) // 480 * 480].reshape(-1, 480).max(axis=1)
    assert levels.max() == pytest.approx(10_000, rel=0.01)
    assert np.sum(np.abs(levels - 1000) < 20) == pytest.approx(30, abs=4)  # tens of milliseconds


def test_a_reply_that_comes_too_slowly_counts_its_underruns(virtual_audio: VirtualAudio):
    async def main() -> int:
        async with open_loudspeaker(None, 48_000, PREBUFFER) as loudspeaker:
            loudspeaker.start()
            loudspeaker.write(tone(0.1, 48_000))
            await asyncio.sleep(0.3)
            loudspeaker.write(tone(0.2, 48_000))
            loudspeaker.end()
            await loudspeaker.finish()
            return loudspeaker.underruns

    with Bus(virtual_audio) as bus:
        assert clock.run(main()) == 1
    assert len(stretches(bus.speaker)) == 2


# ── the microphone ───────────────────────────────────────────────────────────


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 48_000])
def test_what_is_said_is_heard_at_its_level_without_a_gap(virtual_audio: VirtualAudio, rate: int):
    async def main() -> tuple[list[AudioBlock], int]:
        async with (
            open_microphone(None, rate, BLOCK) as microphone,
            collected(microphone) as blocks,
        ):
            await until(lambda: len(blocks) >= 5)
            virtual_audio.speak(tone(1.0, rate), rate)
            await until(lambda: is_loud(blocks[-1]))
            await until(lambda: not is_loud(blocks[-1]))
            return blocks, microphone.xruns

    blocks, xruns = clock.run(main())
    heard = np.concatenate([samples_of(block.pcm) for block in blocks])
    sound = heard[loud(heard)[0] : loud(heard)[-1] + 1]
    assert len(sound) / rate == pytest.approx(1.0, abs=0.005)
    assert np.diff(loud(sound)).max() < 0.001 * rate + 2
    inner = sound[rate // 10 : -rate // 10]
    assert np.sqrt(np.mean(inner.astype(float) ** 2)) == pytest.approx(10_000 / 2**0.5, rel=0.01)
    assert dominant(inner, rate) == pytest.approx(600, abs=2)
    assert {len(block.pcm) for block in blocks[1:]} == {2 * rate // 50}
    assert xruns == 0


def test_blocks_say_when_they_were_at_the_microphone(virtual_audio: VirtualAudio):
    async def main() -> tuple[list[AudioBlock], Seconds]:
        async with (
            open_microphone(None, 16_000, BLOCK) as microphone,
            collected(microphone) as blocks,
        ):
            await asyncio.sleep(0.3)
            for _ in range(6):
                virtual_audio.speak(tone(0.1, 16_000), 16_000)
                await asyncio.sleep(0.453)
            assert not microphone.stream.estimated
            return blocks, origin()

    with Bus(virtual_audio) as bus:
        blocks, begin = clock.run(main())
    said = [
        begin + block.at + loud(samples_of(block.pcm))[0] / 16_000
        for before, block in pairwise(blocks)
        if loud(samples_of(block.pcm)).size and not loud(samples_of(before.pcm)).size
    ]
    truth = [bus.base + first / RATE for first, _ in stretches(bus.microphone)]
    errors = [a - b for a, b in zip(said, truth, strict=True)]
    # The null sink hands a block out before it has sounded: the one error that is not ours.
    assert statistics.median(errors) == pytest.approx(-EARLY, abs=0.002)
    gaps = [b.at - a.at - len(a.pcm) / 2 / 16_000 for a, b in pairwise(blocks[20:])]
    assert statistics.median(map(abs, gaps)) < 0.0005


def test_digital_silence_is_told_within_a_second(virtual_audio: VirtualAudio):
    async def main() -> tuple[Seconds, list[Event]]:
        async with (
            open_microphone("virtual_mic", 16_000, BLOCK) as microphone,
            events_of(microphone) as events,
        ):
            opened = clock.now()
            async with collected(microphone):
                await until(lambda: bool(events))
            return opened, events

    opened, [event] = clock.run(main())
    assert isinstance(event, Warned)
    assert event.at - opened < 1.0
    assert event.text.startswith(
        "The microphone 'virtual_mic' delivers only digital silence. Unmute it"
    )


# ── devices that go and come ─────────────────────────────────────────────────


def test_lost_devices_are_told_and_replaced_in_the_middle_of_a_reply(
    virtual_audio: VirtualAudio,
):
    async def main() -> None:
        async with (
            open_microphone(None, 16_000, BLOCK) as microphone,
            open_loudspeaker(None, 24_000, PREBUFFER) as loudspeaker,
            collected(microphone) as blocks,
            events_of(microphone) as events,
            events_of(loudspeaker) as more,
        ):
            await reply(loudspeaker, tone(2.0, 24_000))
            await asyncio.sleep(0.2)
            virtual_audio.stop()
            lost = clock.now()
            await asyncio.sleep(1.0)
            heard = loudspeaker.heard
            assert [event.text for event in more if isinstance(event, Warned)] == [
                "The loudspeaker 'default' stopped responding. "
                "Connect it again, or connect another one."
            ]
            assert any("microphone 'default' stopped responding" in str(event) for event in events)
            assert all(event.at - lost < 1.0 for event in more)
            virtual_audio.start()
            back = clock.now()
            await loudspeaker.finish()
            assert loudspeaker.heard == 48_000
            assert clock.now() - back == pytest.approx(2 - heard / 24_000, abs=1.0)
            assert any("Switched to the loudspeaker" in str(event) for event in more)
            assert blocks[-1].at > back
            assert max(b.at - a.at for a, b in pairwise(blocks)) > 1.0
            virtual_audio.speak(tone(0.2, 16_000), 16_000)
            await until(lambda: is_loud(blocks[-1]))

    clock.run(main())


def test_opened_without_a_sound_system_is_one_sentence(virtual_audio: VirtualAudio):
    async def main() -> None:
        async with open_microphone(None, 16_000, BLOCK):
            pass

    virtual_audio.stop()
    try:
        with pytest.raises(DeviceError) as caught:
            clock.run(main())
    finally:
        virtual_audio.start()
    assert "microphone" in caught.value.cause
    assert caught.value.hint


@pytest.mark.parametrize("index", ["99", "-1"])
def test_an_index_out_of_range_never_reaches_portaudio(virtual_audio: VirtualAudio, index: str):
    async def main() -> None:
        async with open_microphone(index, 16_000, BLOCK):
            pass

    with pytest.raises(DeviceError, match="there is no"):
        clock.run(main())


def test_nothing_is_printed(virtual_audio: VirtualAudio, capfd: pytest.CaptureFixture[str]):
    async def main() -> None:
        async with (
            open_loudspeaker(None, 48_000, PREBUFFER) as loudspeaker,
            open_microphone(None, 48_000, BLOCK),
        ):
            await reply(loudspeaker, tone(0.1, 48_000))
            await loudspeaker.finish()

    clock.run(main())
    assert capfd.readouterr() == ("", "")
