"""Lost STT connections: no word is lost with them, and no final audio is sent twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from math import floor
from typing import Any

import pytest

from voicecli import clock
from voicecli.errors import ServiceError
from voicecli.events import (
    ConnectionLost,
    ConnectionOpened,
    Event,
    FinalTranscript,
    InterimTranscript,
    Warned,
)
from voicecli.pipeline.transcription import (
    CATCH_UP_SPEED,
    RECONNECT_PAUSES,
    REPLAY_BUFFER,
    STABLE_AFTER,
    STT_WATCHDOG,
    ReconnectingTranscriber,
)
from voicecli.units import AudioBlock, AudioFormat

FORMAT = AudioFormat(1000)
BLOCK = 0.02


def trouble(*, temporary: bool = True) -> ServiceError:
    return ServiceError("stt", "gone", temporary=temporary)


class FakeStt:
    """A connection to an STT; ``sent``: for each block when it was sent and when it was spoken.

    lasts: seconds until it is lost; until then it says ``events`` at their times.
    """

    def __init__(
        self,
        lasts: float = 1e6,
        *events: Event,
        failure: ServiceError | None = None,
        ends: bool = False,
    ) -> None:
        self._lasts = lasts
        self._events = events
        self._failure = failure or trouble()
        self._ends = ends
        self.opened = ConnectionOpened(at=clock.now(), service="stt", took=0.1, request_id="id")
        self.lost = self.closed = False
        self.sent: list[tuple[float, float]] = []
        self.finalized: list[float] = []
        self.finished = False
        self.final_until = 0.0

    async def send(self, block: AudioBlock) -> None:
        self._check()
        self.sent.append((clock.now(), block.at))

    async def finalize(self) -> None:
        self._check()
        self.finalized.append(clock.now())

    async def finish(self) -> None:
        self._check()
        self.finished = True

    def _check(self) -> None:
        if self.lost:
            raise trouble()

    async def events(self) -> AsyncGenerator[Event, None]:
        until = clock.now() + self._lasts
        try:
            for event in self._events:
                if event.at > clock.now():
                    await asyncio.sleep(event.at - clock.now())
                if isinstance(event, FinalTranscript):
                    self.final_until = event.speech_end
                yield event
            await asyncio.sleep(until - clock.now())
        finally:
            self.lost = True
        if not self._ends:
            raise self._failure

    @property
    def spoken(self) -> list[float]:
        return [at for _, at in self.sent]


class Stream:
    """A transcriber that is given a block every 20 ms, and its events.

    opened: the connections, first to last.
    tries: when a connection was tried.
    """

    def __init__(self, *connections: Callable[[], FakeStt] | ServiceError) -> None:
        first, *others = connections
        assert not isinstance(first, ServiceError)
        self._others = list(others)
        self.events: list[Event] = []
        self.tries: list[float] = []
        self.opened = [first()]
        self.transcriber = ReconnectingTranscriber(
            self.opened[0], self._connect, FORMAT, self.events.append
        )

    @asynccontextmanager
    async def _connect(self) -> AsyncGenerator[FakeStt, None]:
        self.tries.append(clock.now())
        await asyncio.sleep(0.01)
        other = self._others.pop(0) if len(self._others) > 1 else self._others[0]
        if isinstance(other, ServiceError):
            raise other
        self.opened.append(other())
        try:
            yield self.opened[-1]
        finally:
            self.opened[-1].closed = True

    async def run(self, duration: float, *, block: float = BLOCK) -> None:
        async with asyncio.TaskGroup() as tasks:
            self.receiving = tasks.create_task(self.transcriber.receive())
            sending = tasks.create_task(self.transcriber.send())
            for number in range(round(duration / block)):
                delay = (number + 1) * block - clock.now()
                await asyncio.sleep(max(delay, 0))
                self.transcriber.add(AudioBlock(bytes(2 * FORMAT.samples(block)), number * block))
            self.receiving.cancel()
            sending.cancel()

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


def run_stream(
    *connections: Callable[[], FakeStt] | ServiceError, duration: float = 5.0, **how: Any
) -> Stream:
    async def main() -> Stream:
        stream = Stream(*connections)
        await stream.run(duration, **how)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert all(connection.closed for connection in stream.opened[1:])
        return stream

    return clock.run(main(), virtual=True)


def final(end: float, at: float, text: str = "Hello.") -> FinalTranscript:
    return FinalTranscript(at=at, text=text, speech_start=0.0, speech_end=end)


def blocks(start: float, stop: float, block: float = BLOCK) -> list[float]:
    return [number * block for number in range(round(start / block), round(stop / block))]


# ── one connection ───────────────────────────────────────────────────────────────────────────────


def test_each_block_is_sent_when_it_comes():
    (stt,) = run_stream(FakeStt).opened
    assert stt.spoken == blocks(0, 4.98)  # the last comes as all ends
    assert all(at == pytest.approx(spoken + BLOCK) for at, spoken in stt.sent)


def test_the_stts_events_are_posted():
    said = [
        InterimTranscript(at=1.0, text="Hel", speech_start=0.5, speech_end=0.9),
        final(1.2, at=1.5),
    ]
    stream = run_stream(lambda: FakeStt(1e6, *said))
    assert stream.events == said


def test_empty_interims_are_posted_only_when_they_retract_words():
    texts = ["", "", "Hel", "", "", "Hello.", "final", "", "Yes.", "Yes."]
    said: list[Event] = [
        final(1.2, at=1 + 0.1 * number)
        if text == "final"
        else InterimTranscript(at=1 + 0.1 * number, text=text, speech_start=0.5, speech_end=0.9)
        for number, text in enumerate(texts)
    ]
    stream = run_stream(lambda: FakeStt(1e6, *said))
    assert stream.events == [said[number] for number in (2, 3, 5, 6, 8, 9)]


def test_a_warning_does_not_satisfy_the_watchdog():
    """A service that sends only frames that cannot be used owes an answer still."""

    async def main():
        odd = Warned(at=1.0, service="stt", text="ignored a frame that is not JSON")
        stream = Stream(lambda: FakeStt(1e6, odd), trouble(temporary=False))
        stream.transcriber.arm_watchdog()
        await stream.run(10.0)
        return stream.tries

    tries = clock.run(main(), virtual=True)
    assert tries == [pytest.approx(STT_WATCHDOG, abs=0.1)]


def test_an_empty_interim_satisfies_the_watchdog():
    nothing = InterimTranscript(at=1.5, text="", speech_start=0.5, speech_end=2.0)

    async def main(*said: Event) -> list[float]:
        stream = Stream(lambda: FakeStt(1e6, *said), FakeStt)
        stream.transcriber.arm_watchdog()
        await stream.run(4.0)
        return stream.tries

    assert clock.run(main(), virtual=True) == [pytest.approx(STT_WATCHDOG)]
    assert clock.run(main(nothing), virtual=True) == []


@pytest.mark.parametrize("armed", [0.5, 2.0])
def test_the_watchdog_of_a_lost_connection_waits_for_the_next_one(armed: float):
    """Whether armed before the loss at 1 s or after it: the next connection opens at 5 s, and has
    its own 2 s once it has been sent what was buffered."""
    refused = ServiceError("stt", "busy", temporary=True, retry_after=4.0)

    async def main() -> list[float]:
        stream = Stream(lambda: FakeStt(1.0), refused, FakeStt)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(stream.run(30.0))
            await asyncio.sleep(armed)
            stream.transcriber.arm_watchdog()
            await running
        return stream.tries

    lost, opened = 1.0, 1.0 + 0.01 + 4.0
    silent = opened + 0.01 + opened / CATCH_UP_SPEED + STT_WATCHDOG
    first, second, third, *_ = clock.run(main(), virtual=True)
    assert (first, second) == pytest.approx((lost, opened))
    assert third == pytest.approx(silent + RECONNECT_PAUSES[2], abs=0.05)


def test_an_intended_end_is_no_loss():
    stream = run_stream(lambda: FakeStt(1.0, ends=True))
    assert stream.events == []
    assert stream.tries == []


def test_finalize_and_finish_go_to_the_current_connection():
    async def main() -> None:
        stream = Stream(lambda: FakeStt(1.0), FakeStt)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(stream.run(3.0))
            for _ in range(2):
                await asyncio.sleep(0.5)
                await stream.transcriber.finalize()
            await asyncio.sleep(0.005)  # the connection is lost, and the next is being made
            await stream.transcriber.finalize()
            await stream.transcriber.finish()
            await asyncio.sleep(1.0)
            await stream.transcriber.finalize()
            await stream.transcriber.finish()
            await running
        first, second = stream.opened
        assert first.finalized == [0.5]
        assert second.finalized == [pytest.approx(2.005)]
        assert (first.finished, second.finished) == (False, True)

    clock.run(main(), virtual=True)


def test_finalize_and_finish_on_a_lost_connection_do_not_fail():
    async def main() -> None:
        stream = Stream(lambda: FakeStt(5.0))
        async with asyncio.TaskGroup() as tasks:
            receiving = tasks.create_task(stream.transcriber.receive())
            await asyncio.sleep(1.0)
            stream.opened[0].lost = True  # the receiver has not noticed yet
            await stream.transcriber.finalize()
            await stream.transcriber.finish()
            receiving.cancel()
        assert stream.opened[0].finalized == []

    clock.run(main(), virtual=True)


# ── a connection is lost ─────────────────────────────────────────────────────────────────────────


def test_the_next_connection_is_sent_all_that_was_not_final():
    stream = run_stream(lambda: FakeStt(3.0, final(1.0, at=1.3)), FakeStt, duration=20.0)
    first, second = stream.opened
    assert first.spoken == blocks(0, 2.98)
    assert second.spoken == blocks(1.0, 19.98)
    assert [type(event) for event in stream.events] == [
        FinalTranscript,
        Warned,
        ConnectionOpened,
    ]


def test_what_became_final_on_the_next_connection_is_not_sent_to_a_third():
    connections = (
        lambda: FakeStt(3.0, final(1.0, at=1.3)),
        lambda: FakeStt(12.0, final(9.0, at=9.5)),
        FakeStt,
    )
    _, _, third = run_stream(*connections, duration=40.0).opened
    assert third.spoken == blocks(9.0, 39.98)


def test_a_block_that_is_partly_final_is_sent_again():
    stream = run_stream(lambda: FakeStt(3.0, final(1.009, at=1.3)), FakeStt, duration=20.0)
    assert stream.opened[1].spoken[0] == pytest.approx(1.0)


@pytest.mark.parametrize("block", [0.02, 0.1, 0.25])
def test_audio_is_caught_up_with_no_faster_than_the_service_takes_it(block):
    stream = run_stream(lambda: FakeStt(4.0), FakeStt, duration=40.0, block=block)
    second = stream.opened[1].sent
    start = 4.01
    for number, (at, _) in enumerate(second, 1):
        assert number * block <= CATCH_UP_SPEED * (at - start) + block + 1e-6
    caught_up = [at for at, spoken in second if at == pytest.approx(spoken + block)]
    # The last of the backlog goes out when no further block has come since it was started on.
    last = floor((start - block) / (block - block / CATCH_UP_SPEED)) + 1
    assert caught_up[0] == pytest.approx((last + 1) * block)
    late = [at - spoken - block for at, spoken in second]
    assert max(late[late.index(min(late)) :]) < 0.001


@pytest.mark.parametrize("lasts", [0.005, 0.03, 0.5, 1.0, 3.0, 12.0, 12.05, 12.1])
@pytest.mark.parametrize("block", [0.02, 0.25])
def test_a_connection_lost_while_catching_up_is_followed_by_one_from_the_start(lasts, block):
    """It does not start with the block that was about to be sent to the one before."""
    stream = run_stream(
        lambda: FakeStt(8.0), lambda: FakeStt(lasts), FakeStt, duration=110.0, block=block
    )
    _, second, third = stream.opened
    assert second.spoken == blocks(0, 110, block)[: len(second.spoken)]
    assert third.spoken == blocks(0, 110 - block, block)


def test_audio_older_than_a_minute_is_dropped():
    stream = run_stream(lambda: FakeStt(100.0), FakeStt, duration=105.0)
    oldest = stream.opened[1].spoken[0]
    assert oldest == pytest.approx(100 - BLOCK - REPLAY_BUFFER)


def test_audio_dropped_while_catching_up_leaves_no_block_out_and_none_twice():
    """A backlog of a minute: its head is dropped faster than it is sent."""
    refused = [trouble()] * 4
    stream = run_stream(lambda: FakeStt(100.0), *refused, FakeStt, duration=500.0)
    spoken = stream.opened[1].spoken
    assert spoken == blocks(spoken[0], 499.98)
    connected = 100 + sum(RECONNECT_PAUSES) + 5 * 0.01
    assert spoken[0] == pytest.approx(connected - BLOCK - REPLAY_BUFFER)


# ── no connection helps ──────────────────────────────────────────────────────────────────────────


def test_after_the_last_attempt_the_session_ends():
    stream = run_stream(lambda: FakeStt(1.0), trouble(), duration=30.0)
    pauses = [later - earlier for earlier, later in pairwise([1.0, *stream.tries])]
    assert pauses == pytest.approx([0, 0.26, 1.01, 2.01, 4.01])
    assert stream.events[-1] == ConnectionLost(
        at=pytest.approx(8.3), service="stt", reason="STT: gone"
    )
    assert [event.text for event in stream.events if isinstance(event, Warned)] == [
        "STT: gone; reconnecting",
        *(f"STT: gone; trying again in {pause:g} s" for pause in RECONNECT_PAUSES[1:]),
    ]


def test_a_refusal_ends_it_at_once():
    stream = run_stream(lambda: FakeStt(1.0), trouble(temporary=False), duration=30.0)
    assert stream.tries == [1.0]
    assert isinstance(stream.events[-1], ConnectionLost)


def test_a_permanent_loss_ends_it_at_once():
    """Nor does it announce a reconnect."""
    stream = run_stream(lambda: FakeStt(1.0, failure=trouble(temporary=False)), duration=30.0)
    assert stream.tries == []
    assert stream.events == [ConnectionLost(at=1.0, service="stt", reason="STT: gone")]


def test_connections_that_do_not_last_count_as_attempts():
    """Each loss is shown."""
    stream = run_stream(lambda: FakeStt(1.0), lambda: FakeStt(0.5), duration=60.0)
    assert len(stream.tries) == len(stream.of(Warned)) == 5
    assert isinstance(stream.events[-1], ConnectionLost)


def test_connections_that_last_do_not():
    stream = run_stream(lambda: FakeStt(1.0), lambda: FakeStt(STABLE_AFTER + 1), duration=200.0)
    assert len(stream.tries) > 10
    assert stream.of(ConnectionLost) == []
    assert len(stream.of(Warned)) == len(stream.tries)


@pytest.mark.parametrize("after", [0.5, 1.0, 1.005, 1.1, 1.3, 2.0, 3.0, 9.0])
def test_cancelled_at_any_time_it_leaves_nothing_behind(after):
    async def main() -> None:
        others: Sequence[Any] = (trouble(), lambda: FakeStt(0.5), trouble(), FakeStt)
        stream = Stream(lambda: FakeStt(1.0), *others)
        task = asyncio.create_task(stream.run(30.0))
        await asyncio.sleep(after)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert all(connection.closed for connection in stream.opened[1:])

    clock.run(main(), virtual=True)
