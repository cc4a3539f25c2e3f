"""What a loudspeaker plays and when, sample by sample; drawn by a clock or by a device."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from voicecli.audio.playout import (
    DUCKED_GAIN,
    FADE,
    LONGEST_PREBUFFER,
    ClockedPlayout,
    PlayoutBuffer,
)

RATE = 1000
PREBUFFER = 0.06
PREBUFFER_TICKS = 60
FADE_TICKS = 10

Sound = NDArray[np.int16]


def ramp(start: int, count: int) -> Sound:
    """Samples that tell which they are, and are none of them silent."""
    return (np.arange(start, start + count) % 32_000 + 500).clip(max=32_767).astype(np.int16)


@dataclass
class Listener:
    """Drives a buffer tick by tick, and hears all that sounds.

    out: what sounded, tick by tick; heard: samples of the reply that had sounded before each tick.
    """

    buffer: ClockedPlayout = field(default_factory=lambda: ClockedPlayout(RATE, PREBUFFER))
    written: int = 0
    out: list[int] = field(default_factory=list)
    heard: list[int] = field(default_factory=list)

    @property
    def now(self) -> float:
        return len(self.out) / RATE

    def write(self, count: int) -> None:
        self.buffer.advance(self.now).write(ramp(self.written, count))
        self.written += count

    def listen(self, ticks: int) -> None:
        for _ in range(ticks):
            self.heard.append(self.buffer.advance(self.now).drawn)
            self.out.append(int(self.buffer.take(self.now, 1)[0]))

    @property
    def sound(self) -> list[int]:
        """What sounded, without the silences."""
        return [sample for sample in self.out if sample]


# ── nothing is lost, nothing is heard twice ──────────────────────────────────


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 0.4), st.integers(0, 300)), max_size=30),
    st.lists(st.integers(1, 400), min_size=1, max_size=5),
)
def test_all_that_is_written_is_heard_once_and_in_order(
    writes: list[tuple[float, int]], takes: list[int]
) -> None:
    """At any times, which are no whole ticks; and taken in pieces of any size."""
    buffer = ClockedPlayout(RATE, PREBUFFER)
    now, written, heard, out = 0.0, 0, 0, np.zeros(0, np.int16)
    for turn, (pause, count) in enumerate(writes):
        now += pause
        while len(out) + (size := takes[turn % len(takes)]) <= now * RATE:
            out = np.concatenate([out, buffer.take(len(out) / RATE, size)])
        assert heard <= (heard := buffer.advance(now).drawn) <= written
        buffer.advance(now).write(ramp(written, count))
        written += count
        assert buffer.advance(now).queued == (written - heard) / RATE
    buffer.advance(now).end()
    ends_at = buffer.ends_at
    out = np.concatenate([out, buffer.take(len(out) / RATE, 20_000 + len(out))])
    assert out[out != 0].tolist() == ramp(0, written).tolist()
    assert buffer.drained
    if written:
        last = int(np.flatnonzero(out)[-1])
        assert ends_at == buffer.ends_at == (last + 1) / RATE
        audible = int(np.flatnonzero(out)[0])  # each of these samples is
        assert buffer.audible_at == audible / RATE
    else:
        assert ends_at is buffer.audible_at is None


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["write", "write", "hold", "resume"]), st.integers(FADE_TICKS, 150)
        ),
        max_size=30,
    )
)
def test_a_fade_out_and_the_fade_in_after_it_are_the_original(steps: list[tuple[str, int]]) -> None:
    """However it is held and resumed, whatever has come by then or has not.

    A fade in that is itself held is the one exception, which 150 ms between the two rule out.
    """
    listener, played, tails = Listener(), 0, {}
    buffer = listener.buffer
    for step, count in steps:
        if step == "write":
            listener.write(count)
        elif step == "resume":
            buffer.advance(listener.now).resume()
        elif not played or buffer.advance(listener.now).drawn - played > FADE_TICKS:
            buffer.advance(listener.now).hold()
            played = buffer.advance(listener.now).drawn
            tails[len(listener.out)] = played
        listener.listen(count)
    buffer.advance(listener.now).end()
    buffer.advance(listener.now).resume()
    listener.listen(listener.written + 1)
    listener.heard.append(buffer.advance(listener.now).drawn)

    by_position = np.zeros(listener.written + FADE_TICKS, np.int64)
    tail_of = {
        begin + i: position + i for begin, position in tails.items() for i in range(FADE_TICKS)
    }
    for tick, sample in enumerate(listener.out):
        position = listener.heard[tick]
        went_on = listener.heard[tick + 1] - position
        assert went_on in (0, 1)
        assert went_on or not sample or tick in tail_of
        by_position[position if went_on else tail_of.get(tick, -1)] += sample
    original = ramp(0, listener.written).astype(np.int64)
    assert np.abs(by_position[: listener.written] - original).max(initial=0) <= 1  # rounded twice


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 200), st.integers(1, 300)), min_size=1, max_size=15))
def test_pieces_taken_at_any_size_are_the_same_sound(pieces: list[tuple[int, int]]) -> None:
    """Writes and holds at the same ticks; what is taken does not depend on how."""

    def play(size: int) -> Sound:
        buffer, out, tick, written = ClockedPlayout(RATE, PREBUFFER), [], 0, 0
        for turn, (count, pause) in enumerate(pieces):
            buffer.advance(tick / RATE).write(ramp(written, count))
            written += count
            buffer.advance(tick / RATE)
            (buffer.hold if turn % 3 == 1 else buffer.resume)()
            for start in range(tick, tick + pause, size):
                out.append(buffer.take(start / RATE, min(size, tick + pause - start)))
            tick += pause
        return np.concatenate(out)

    once = play(10_000).astype(int)
    assert np.abs(play(1) - once).max() <= 1  # a gain in other steps is rounded elsewhere
    assert np.abs(play(7) - once).max() <= 1


# ── the pre-buffer ───────────────────────────────────────────────────────────


def test_a_reply_sounds_once_the_prebuffer_is_queued() -> None:
    listener = Listener()
    listener.write(PREBUFFER_TICKS - 1)
    listener.listen(100)
    assert not listener.sound
    assert listener.buffer.audible_at is listener.buffer.ends_at is None
    listener.write(1)
    assert (listener.buffer.audible_at, listener.buffer.ends_at) == (0.1, 0.16)
    listener.listen(PREBUFFER_TICKS)
    assert listener.out[100:] == ramp(0, PREBUFFER_TICKS).tolist()


def test_a_short_reply_sounds_when_it_has_ended() -> None:
    listener = Listener()
    listener.write(5)
    listener.listen(20)
    listener.buffer.advance(listener.now).end()
    listener.listen(5)
    assert listener.out == [0] * 20 + ramp(0, 5).tolist()
    assert listener.buffer.underruns == 0


def test_audio_that_comes_as_the_last_sample_sounds_leaves_no_gap() -> None:
    listener = Listener()
    listener.write(PREBUFFER_TICKS)
    listener.listen(PREBUFFER_TICKS)
    listener.write(1)
    listener.listen(1)
    listener.write(1)
    listener.listen(1)
    assert listener.out == ramp(0, PREBUFFER_TICKS + 2).tolist()
    assert listener.buffer.underruns == 0


def test_the_prebuffer_doubles_with_each_underrun_and_halves_with_each_good_reply() -> None:
    buffer, now = ClockedPlayout(RATE, PREBUFFER), 0.0
    seen = []
    for _ in range(4):
        buffer.advance(now).write(ramp(0, 400))
        now += 1.0
        seen.append((buffer.underruns, buffer.prebuffer))
    assert seen == [(0, 0.06), (1, 0.12), (2, LONGEST_PREBUFFER), (3, LONGEST_PREBUFFER)]
    for least in (LONGEST_PREBUFFER, 0.1, 0.06, 0.06):
        buffer.advance(now).start()
        assert (buffer.underruns, buffer.prebuffer) == (0, pytest.approx(least))


def test_an_underrun_counts_once_however_small_the_pieces_that_end_it() -> None:
    listener = Listener()
    listener.write(100)
    listener.listen(150)
    for _ in range(30):
        listener.write(4)
        listener.listen(1)
    listener.buffer.advance(listener.now).end()
    listener.listen(200)
    assert listener.buffer.underruns == 1
    assert listener.sound == ramp(0, 220).tolist()


def test_the_end_of_a_reply_is_no_underrun() -> None:
    listener = Listener()
    listener.write(100)
    listener.listen(200)
    listener.buffer.advance(listener.now).end()
    assert listener.buffer.drained
    listener.buffer.advance(listener.now).start()
    listener.write(100)
    listener.listen(200)
    assert listener.buffer.underruns == 0


# ── soft, held, cut ──────────────────────────────────────────────────────────


def test_ducked_it_is_20_db_softer_and_misses_nothing() -> None:
    buffer = ClockedPlayout(RATE, PREBUFFER)
    loud = np.full(300, 10_000, np.int16)
    buffer.advance(0.0).write(loud)
    buffer.advance(0.1).duck()
    buffer.advance(0.2).resume()
    out = buffer.take(0.0, 310)
    assert pytest.approx(0.1) == DUCKED_GAIN
    assert out[:101].tolist() == [10_000] * 101
    assert out[100:110].tolist() == list(range(10_000, 0, -1000))
    assert out[109:201].tolist() == [1000] * 92
    assert out[200:210].tolist() == list(range(1000, 11_000, 1000))
    assert out[209:300].tolist() == [10_000] * 91
    assert not out[300:].any()


def test_a_hold_fades_out_and_resumes_at_the_sample_where_the_fade_began() -> None:
    buffer = ClockedPlayout(RATE, PREBUFFER)
    buffer.advance(0.0).write(np.full(150, 10_000, np.int16))
    buffer.advance(0.05).hold()
    buffer.advance(0.055).hold()  # once more is no more
    assert buffer.advance(0.2).drawn == 50
    assert buffer.advance(0.2).queued == 0.1
    assert buffer.ends_at is None
    buffer.advance(0.2).resume()
    assert buffer.ends_at == 0.3
    out = buffer.take(0.0, 400)
    assert out[:50].tolist() == [10_000] * 50
    assert out[50:60].tolist() == list(range(10_000, 0, -1000))
    assert not out[60:201].any()
    assert out[200:210].tolist() == list(range(0, 10_000, 1000))
    assert out[210:300].tolist() == [10_000] * 90
    assert not out[300:].any()


def test_a_hold_before_anything_sounded_fades_nothing() -> None:
    """Nor does one when the reply has run dry: there is no fade out to repeat."""
    listener = Listener()
    listener.buffer.advance(listener.now).hold()
    listener.write(100)
    listener.listen(50)
    listener.buffer.advance(listener.now).resume()
    listener.listen(120)
    listener.buffer.advance(listener.now).hold()
    listener.listen(20)
    listener.buffer.advance(listener.now).resume()
    listener.write(200)
    listener.listen(300)
    assert listener.sound == ramp(0, 300).tolist()


def test_a_hold_in_the_tick_in_which_the_queue_is_empty_holds_what_comes() -> None:
    buffer = ClockedPlayout(RATE, PREBUFFER)
    buffer.advance(0.0).write(ramp(0, 100))
    buffer.advance(0.1).hold()
    buffer.write(ramp(100, 100))
    assert buffer.advance(0.3).drawn == 100
    buffer.resume()
    assert buffer.advance(0.5).drawn == 200


def test_a_hold_with_little_queued_fades_over_what_there_is() -> None:
    buffer = ClockedPlayout(RATE, PREBUFFER)
    buffer.advance(0.0).write(np.full(64, 8000, np.int16))
    buffer.advance(0.06).hold()
    buffer.advance(0.1).write(np.full(96, 8000, np.int16))
    buffer.advance(0.2).resume()
    out = buffer.take(0.0, 400)
    assert out[60:64].tolist() == [8000, 6000, 4000, 2000]
    assert not out[64:200].any()
    assert out[200:205].tolist() == [0, 2000, 4000, 6000, 8000]
    assert out[205:300].tolist() == [8000] * 95


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 200), st.integers(0, 100)), max_size=10),
    st.integers(0, 1500),
    st.sampled_from(["play", "duck", "hold"]),
)
def test_after_a_clear_nothing_sounds_beyond_the_fade(
    writes: list[tuple[int, int]], cut_at: int, state: str
) -> None:
    listener = Listener()
    for count, pause in writes:
        listener.write(count)
        listener.listen(pause)
    listener.listen(max(0, cut_at - len(listener.out)))
    if state == "duck":
        listener.buffer.advance(listener.now).duck()
    elif state == "hold":
        listener.buffer.advance(listener.now).hold()
        listener.listen(FADE_TICKS)
    cut = len(listener.out)
    before = listener.buffer.advance(listener.now).drawn
    heard = listener.buffer.advance(listener.now).clear()
    assert heard == before
    listener.write(500)  # late audio of the reply that was cut
    listener.buffer.advance(listener.now).resume()
    listener.listen(600)
    assert not any(listener.out[cut + FADE_TICKS :])
    assert (listener.out[cut : cut + FADE_TICKS] <= ramp(heard, FADE_TICKS)).all()
    assert listener.buffer.advance(listener.now).drawn == heard
    assert listener.buffer.drained
    assert listener.buffer.advance(listener.now).queued == 0
    if state == "hold":
        assert not any(listener.out[cut:])


def test_the_next_reply_begins_at_once_over_the_fade_of_the_one_before() -> None:
    listener = Listener()
    listener.write(200)
    listener.listen(100)
    listener.buffer.advance(listener.now).start()
    begun = len(listener.out)
    listener.buffer.advance(listener.now).write(np.full(100, 1000, np.int16))
    listener.listen(150)
    fade = np.rint(ramp(100, FADE_TICKS) * (1 - np.arange(FADE_TICKS) / FADE_TICKS)).astype(int)
    assert listener.out[begun : begun + FADE_TICKS] == (1000 + fade).tolist()
    assert listener.out[begun + FADE_TICKS : begun + 100] == [1000] * 90
    assert not any(listener.out[begun + 100 :])
    assert listener.heard[begun] == 0


def test_two_sounds_at_once_are_clipped_not_wrapped() -> None:
    buffer = ClockedPlayout(RATE, PREBUFFER)
    full = np.full(200, 32_767, np.int16)
    buffer.advance(0.0).write(full)
    buffer.advance(0.1).start()
    buffer.advance(0.1).write(full)
    assert buffer.take(0.0, 300).tolist() == [32_767] * 300


# ── what it says of itself ───────────────────────────────────────────────────


def test_silence_at_the_head_is_not_audible() -> None:
    buffer = ClockedPlayout(RATE, PREBUFFER)
    buffer.advance(0.0).write(np.repeat(np.array([0, 184], np.int16), [70, 30]))
    assert buffer.audible_at is None
    buffer.advance(0.02).write(np.full(50, 185, np.int16))
    assert buffer.audible_at == 0.1
    buffer.advance(0.05).hold()
    assert buffer.audible_at is None
    buffer.advance(0.25).resume()
    assert buffer.audible_at == 0.3
    assert buffer.advance(0.4).drawn == 150
    assert buffer.audible_at == 0.3


def test_times_between_two_ticks_take_effect_at_the_next_one() -> None:
    buffer = ClockedPlayout(RATE, PREBUFFER)
    buffer.advance(0.0104).write(ramp(0, 100))
    assert buffer.audible_at == 0.011
    assert buffer.advance(0.011).drawn == 0
    assert buffer.advance(0.0111).drawn == 1
    assert (
        buffer.advance(0.1 + 0.2 - 0.289).drawn == 1
    )  # 0.011 to the last bit but one: time stands still
    assert buffer.take(0.0, 14).tolist() == [0] * 11 + ramp(0, 3).tolist()


def test_what_was_taken_has_sounded() -> None:
    """A loudspeaker that has fetched samples plays them, whatever comes later."""
    buffer = ClockedPlayout(RATE, PREBUFFER)
    buffer.advance(0.0).write(np.full(200, 7000, np.int16))
    assert buffer.take(0.0, 100).tolist() == [7000] * 100
    assert buffer.advance(0.05).clear() == 100
    assert buffer.take(0.1, 2 * FADE_TICKS).tolist() == [*range(7000, 0, -700), *[0] * FADE_TICKS]


def test_without_a_fade_everything_is_at_once() -> None:
    buffer = ClockedPlayout(RATE, PREBUFFER, fade=0.0)
    buffer.advance(0.0).write(np.full(100, 9000, np.int16))
    buffer.advance(0.02).duck()
    buffer.advance(0.03).resume()
    buffer.advance(0.04).hold()
    buffer.advance(0.07).resume()
    out = buffer.take(0.0, 200)
    assert out[:40].tolist() == [9000] * 20 + [900] * 10 + [9000] * 10
    assert out[40:].tolist() == [0] * 30 + [9000] * 60 + [0] * 70


@pytest.mark.parametrize("recorded", [True, False])
def test_memory_stays_flat_for_an_hour(recorded: bool) -> None:
    buffer = ClockedPlayout(48_000, PREBUFFER)
    tracemalloc.start()
    for second in range(3600):
        buffer.advance(float(second)).write(np.ones(48_000, np.int16))
        if recorded:
            buffer.take(float(second), 48_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert buffer.advance(3600.0).drawn == 3600 * 48_000
    kept = 1 if recorded else 30  # seconds, for a recorder that does not come
    assert peak < (kept + 8) * 96_000


# ── drawn in blocks by a device ──────────────────────────────────────────────

DEVICE_RATE = 16_000
BLOCK = 160
DEVICE_FADE = round(FADE * DEVICE_RATE)
DEVICE_PREBUFFER = round(PREBUFFER * DEVICE_RATE)


class Device:
    """Draws blocks, each of which sounds 30 ms after it was drawn."""

    def __init__(self, buffer: PlayoutBuffer, block: int = BLOCK) -> None:
        self.buffer, self.block = buffer, block
        self.now = 0.0
        self.played: list[Sound] = []

    def draw(self, blocks: int = 1) -> Sound:
        drawn = []
        for _ in range(blocks):
            drawn.append(self.buffer.draw(self.block, self.now + 0.03))
            self.now += self.block / DEVICE_RATE
        self.played += drawn
        return np.concatenate(drawn)

    @property
    def all(self) -> Sound:
        return np.concatenate(self.played)


def steady(count: int, value: int = 10_000) -> Sound:
    return np.full(count, value, np.int16)


def counting(count: int, first: int = 1) -> Sound:
    """Samples that tell where they are."""
    return np.arange(first, first + count, dtype=np.int16)


def playing(sound: Sound) -> tuple[PlayoutBuffer, Device]:
    buffer = PlayoutBuffer(DEVICE_RATE, PREBUFFER)
    buffer.start()
    buffer.write(sound)
    buffer.end()
    return buffer, Device(buffer)


@given(
    pieces=st.lists(st.integers(0, 900), min_size=1, max_size=12), block=st.sampled_from([80, 333])
)
def test_what_is_drawn_is_what_was_written(pieces, block):
    sound = counting(sum(pieces))
    buffer = PlayoutBuffer(DEVICE_RATE, PREBUFFER)
    buffer.start()
    for piece in np.split(sound, np.cumsum(pieces)[:-1]):
        buffer.write(piece)
    buffer.end()
    drawn = Device(buffer, block).draw(len(sound) // block + 2)
    assert np.array_equal(drawn[: len(sound)], sound)
    assert not drawn[len(sound) :].any()
    assert buffer.drained


def test_nothing_sounds_before_the_prebuffer_is_full():
    buffer = PlayoutBuffer(DEVICE_RATE, PREBUFFER)
    device = Device(buffer)
    buffer.start()
    buffer.write(steady(DEVICE_PREBUFFER - 1))
    assert not device.draw(3).any()
    buffer.write(steady(1))
    assert device.draw()[0] == 10_000


def test_a_longer_prebuffer_is_waited_for():
    buffer = PlayoutBuffer(DEVICE_RATE, 0.3)
    device = Device(buffer)
    buffer.start()
    buffer.write(steady(round(0.3 * DEVICE_RATE) - 1))
    assert not device.draw(3).any()
    buffer.write(steady(1))
    assert device.draw()[0] == 10_000


def test_the_end_of_a_reply_waits_for_no_prebuffer():
    _, device = playing(counting(10))
    assert np.array_equal(device.draw()[:10], counting(10))


def test_times_are_those_of_the_samples_not_of_the_blocks():
    sound = np.concatenate([np.zeros(200, np.int16), steady(1000)])
    buffer, device = playing(sound)
    device.draw(3)
    assert buffer.audible_at == pytest.approx(0.03 + 200 / DEVICE_RATE)
    assert buffer.ends_at == pytest.approx(0.03 + 3 * BLOCK / DEVICE_RATE)


def test_heard_is_what_has_sounded_not_what_was_drawn():
    buffer, device = playing(steady(10_000))
    device.draw(20)
    assert buffer.count_heard(0.0) == 0
    assert buffer.count_heard(0.03 + 100 / DEVICE_RATE) == 100
    assert buffer.count_heard(0.03 + 5000 / DEVICE_RATE) == 20 * BLOCK


@given(before=st.integers(1, 20), silent=st.integers(1, 20), block=st.integers(DEVICE_FADE, 400))
def test_hold_and_resume_lose_no_sample_of_a_device(before, silent, block):
    sound = (5000 * np.sin(np.arange(12_000) / 9)).astype(np.int16)
    buffer, device = playing(sound)
    device.block = block
    device.draw(before)
    at = before * block
    buffer.hold()
    held = device.draw(silent)
    buffer.resume()
    rest = device.draw(12_000 // block + 2)
    assert not held[DEVICE_FADE:].any()
    joined = rest[: len(sound) - at].astype(float)
    joined[:DEVICE_FADE] += held[:DEVICE_FADE]  # the one fade falls as the other rises
    assert np.abs(joined - sound[at:]).max() <= 1


def test_a_held_reply_is_heard_up_to_where_it_goes_on():
    buffer, device = playing(steady(10_000))
    device.draw(5)
    buffer.hold()
    device.draw(100)
    assert buffer.count_heard(device.now) == 5 * BLOCK
    buffer.resume()
    device.draw(10)
    assert buffer.count_heard(device.now + 0.03) == 15 * BLOCK


def test_written_while_held_sounds_after():
    buffer = PlayoutBuffer(DEVICE_RATE, PREBUFFER)
    device = Device(buffer)
    buffer.start()
    buffer.write(counting(1000))
    device.draw(2)
    buffer.hold()
    device.draw(2)
    buffer.write(counting(1000, first=1001))
    buffer.end()
    buffer.resume()
    assert device.draw(15)[2000 - 2 * BLOCK - 1] == 2000


@given(before=st.integers(1, 30), block=st.integers(40, 400))
def test_after_a_clear_only_the_fade_of_the_old_reply_sounds(before, block):
    buffer, device = playing(steady(20_000, -7000))
    device.block = block
    device.draw(before)
    buffer.clear()
    buffer.write(steady(5000, -7000))  # late audio of the reply that was cleared
    buffer.start()
    buffer.write(steady(5000, 3000))
    buffer.end()
    rest = device.draw(5000 // block + 2)
    old = min(DEVICE_FADE, 20_000 - before * block)
    fade = rest[:old].astype(int) - 3000  # the new reply begins at once, over the fade
    assert (fade <= 0).all()
    assert (np.diff(fade) >= 0).all()  # softer and softer
    assert (rest[old:5000] == 3000).all()
    assert not rest[5000:].any()


def test_a_clear_while_held_is_silent_at_once():
    buffer, device = playing(steady(10_000))
    device.draw(2)
    buffer.hold()
    device.draw(2)
    buffer.clear()
    assert not device.draw(5).any()


def test_ducked_is_20_db_softer_and_resumed_as_loud_as_before():
    buffer, device = playing(steady(10_000))
    device.draw(2)
    buffer.duck()
    ducked = device.draw(3)
    buffer.resume()
    resumed = device.draw(3)
    assert (ducked[DEVICE_FADE:] == 10_000 * DUCKED_GAIN).all()
    assert (np.abs(np.diff(ducked.astype(int))) < 120).all()  # no click
    assert (resumed[DEVICE_FADE:] == 10_000).all()
    assert buffer.count_heard(device.now + 1) == 8 * BLOCK


def test_a_new_reply_is_as_loud_as_ever():
    buffer, device = playing(steady(10_000))
    buffer.duck()
    device.draw(2)
    buffer.start()
    buffer.write(steady(1000))
    buffer.end()
    assert device.draw(3)[DEVICE_FADE + 1] == 10_000


def test_running_dry_fades_counts_and_waits_for_more_than_before():
    buffer = PlayoutBuffer(DEVICE_RATE, PREBUFFER)
    device = Device(buffer)
    buffer.start()
    buffer.write(steady(DEVICE_PREBUFFER))
    drawn = device.draw(DEVICE_PREBUFFER // BLOCK + 3)
    assert buffer.underruns == 1
    assert np.abs(np.diff(drawn[BLOCK:].astype(int))).max() < 120  # no click
    buffer.write(steady(2 * DEVICE_PREBUFFER - 1))
    assert not device.draw(3).any()
    buffer.write(steady(1))
    again = device.draw(3)
    assert again[DEVICE_FADE + 1] == 10_000
    assert again[0] == 0


def test_a_device_that_has_run_dry_counts_once_and_plays_the_rest_at_the_end():
    buffer = PlayoutBuffer(DEVICE_RATE, PREBUFFER)
    device = Device(buffer)
    buffer.start()
    buffer.write(steady(DEVICE_PREBUFFER + 40))
    device.draw(DEVICE_PREBUFFER // BLOCK + 3)
    assert (buffer.underruns, buffer.drawn) == (1, DEVICE_PREBUFFER)
    buffer.end()
    assert np.count_nonzero(device.draw(3)) == 39  # from 0 on, it fades in
    assert (buffer.underruns, buffer.drained) == (1, True)


def test_the_prebuffer_grows_to_its_limit_and_shrinks_with_clean_replies():
    buffer = PlayoutBuffer(DEVICE_RATE, PREBUFFER)
    device = Device(buffer)

    def waits_for() -> int:
        written = 0
        while not device.draw().any():
            buffer.write(steady(BLOCK))
            written += BLOCK
        return written

    buffer.start()
    waits = []
    for _ in range(4):
        waits.append(waits_for())
        while not buffer.underruns or device.draw().any():
            device.draw()
    assert waits[0] == DEVICE_PREBUFFER
    assert waits[-1] <= LONGEST_PREBUFFER * DEVICE_RATE + BLOCK
    assert waits == sorted(waits)
    for _ in range(4):
        buffer.start()
        buffer.write(steady(BLOCK))
        buffer.end()
        device.draw(2)
    buffer.start()
    assert waits_for() == DEVICE_PREBUFFER


def test_a_successor_goes_on_where_it_is_told_in_the_same_state():
    buffer, device = playing(steady(10_000))
    buffer.duck()
    device.draw(2)
    other = buffer.create_successor(48_000)
    other.write(steady(9000))
    other.end()
    drawn = other.draw(4800, 0.0)
    assert drawn[0] == 0
    assert (drawn[round(FADE * 48_000) :] == 1000).all()
    assert other.audible_at == buffer.audible_at
