"""The tap on a transcriber: pacing, events and lags; and the clips."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from itertools import product
from typing import Literal

import pytest

from voicecli import clock
from voicecli.audio.vad import create_detector
from voicecli.errors import ServiceError
from voicecli.events import (
    ConnectionOpened,
    Event,
    FinalTranscript,
    InterimTranscript,
    SpeechEndMeasured,
)
from voicecli.metrics.accuracy import VIRTUAL
from voicecli.probe.clips import load_clips
from voicecli.probe.stt import SttTap
from voicecli.units import AudioBlock, AudioFormat

FORMAT = AudioFormat(16_000)


class Echo:
    """A transcriber that answers each block with an interim that covers half of it."""

    def __init__(self, *, lost: bool = False) -> None:
        self.opened = ConnectionOpened(at=0.0, service="stt", took=0.0, request_id="id")
        self.interim_lag: float | None = None
        self.blocks: list[tuple[float, AudioBlock]] = []
        self._lost = lost
        self._events: list[Event] = []

    async def send(self, block: AudioBlock) -> None:
        self.blocks.append((clock.now(), block))
        self._events.append(transcript(InterimTranscript, "so far"))

    async def finalize(self) -> None:
        self._events.append(transcript(FinalTranscript, "so far", from_finalize=True))

    async def finish(self) -> None:
        pass

    async def events(self) -> AsyncGenerator[Event, None]:
        while True:
            await asyncio.sleep(0.001)
            while self._events:
                self.interim_lag = FORMAT.seconds(len(self.blocks[-1][1].pcm)) / 2
                yield self._events.pop(0)
                if self._lost:
                    raise ServiceError("stt", "the connection was lost")


def transcript(kind: type[Event], text: str, **fields: object) -> Event:
    return kind(at=clock.now(), text=text, speech_start=0.0, speech_end=0.0, **fields)  # type: ignore[call-arg]


def run_tap(echo: Echo, pcm: bytes) -> SttTap:
    async def main() -> SttTap:
        tap = SttTap(echo, FORMAT, 0.02)

        async def work() -> None:
            await tap.play(pcm)
            await echo.finalize()
            await tap.wait_for(lambda event: isinstance(event, FinalTranscript), 1.0)

        await tap.run(work)
        return tap

    return clock.run(main(), virtual=True)


def test_a_block_goes_out_when_its_last_sample_is_due() -> None:
    echo = Echo()
    tap = run_tap(echo, FORMAT.silence(0.05))

    assert [at for at, _ in echo.blocks] == pytest.approx([0.02, 0.04, 0.05])
    assert [block.at for _, block in echo.blocks] == pytest.approx([0.0, 0.02, 0.04])
    assert tap.late == 0


def test_the_lag_of_each_interim_is_collected() -> None:
    tap = run_tap(Echo(), FORMAT.silence(0.05))

    assert tap.lags == pytest.approx([0.01, 0.01, 0.005])
    assert [type(event) for event in tap.events] == [InterimTranscript] * 3 + [FinalTranscript]
    tap.forget()
    assert (tap.lags, tap.events) == ([], [])


def test_a_lost_connection_ends_the_work() -> None:
    with pytest.raises(ServiceError, match="the connection was lost"):
        run_tap(Echo(lost=True), FORMAT.silence(0.5))


@pytest.mark.parametrize("rate", [8000, 16_000, 48_000])
def test_the_clips_are_what_they_are_at_any_rate(rate: int) -> None:
    for clip, seconds in zip(load_clips(AudioFormat(rate)), (2.530, 2.696), strict=True):
        assert len(clip.speech) / rate == pytest.approx(seconds, abs=0.001)
        assert clip.format.seconds(len(clip.with_lead(0.5))) == pytest.approx(
            seconds + 0.5, abs=0.001
        )
        assert abs(clip.speech).max() > 10 * abs(clip.room).max()


@pytest.mark.parametrize("rate", [8000, 16_000, 48_000])
@pytest.mark.parametrize("vad", ["silero", "energy"])
def test_the_clips_end_where_a_conversation_measures_their_end(
    rate: int, vad: Literal["silero", "energy"]
) -> None:
    """So a probe and a replay count from the same moment, whenever in a block it is."""
    format = AudioFormat(rate)
    for clip, lead in product(load_clips(format), (0.5, 0.7, 0.913)):
        speech = clip.with_lead(lead)
        detector = create_detector(vad, format, 0.2)
        pcm, size = speech + clip.silence(1.0), len(format.silence(0.02))
        events = [
            event
            for start in range(0, len(pcm), size)
            for event in detector.feed(AudioBlock(pcm[start : start + size], format.seconds(start)))
        ]
        measured = [one.speech_end for one in events if isinstance(one, SpeechEndMeasured)]
        assert measured[-1] == pytest.approx(format.seconds(len(speech)), abs=VIRTUAL.error)
