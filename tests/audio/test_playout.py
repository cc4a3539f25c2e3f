"""What a loudspeaker plays and when, sample by sample."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from voicecli.audio.playout import DUCKED, LONGEST_PREBUFFER, PlayoutBuffer
from voicecli.units import AudioFormat

RATE = 1000
FADE = 10
"""Samples, of 10 ms."""
PREBUFFER = 60

Sound = NDArray[np.int16]


def ramp(start: int, count: int) -> Sound:
    """Samples that tell which they are, and are none of them silent."""
    return (np.arange(start, start + count) % 32_000 + 500).clip(max=32_767).astype(np.int16)


@dataclass
class Listener:
    """Drives a buffer tick by tick, and hears all that sounds.

    out: what sounded, tick by tick; heard: samples of the reply that had sounded before each tick.
    """

    buffer: PlayoutBuffer = field(default_factory=lambda: PlayoutBuffer(AudioFormat(RATE)))
    written: int = 0
    out: list[int] = field(default_factory=list)
    heard: list[int] = field(default_factory=list)

    @property
    def now(self) -> float:
        return len(self.out) / RATE

    def write(self, count: int) -> None:
        self.buffer.write(ramp(self.written, count).tobytes(), self.now)
        self.written += count

    def listen(self, ticks: int) -> None:
        for _ in range(ticks):
            self.heard.append(self.buffer.heard(self.now))
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
    buffer = PlayoutBuffer(AudioFormat(RATE))
    now, written, heard, out = 0.0, 0, 0, np.zeros(0, np.int16)
    for turn, (pause, count) in enumerate(writes):
        now += pause
        while len(out) + (size := takes[turn % len(takes)]) <= now * RATE:
            out = np.concatenate([out, buffer.take(len(out) / RATE, size)])
        assert heard <= (heard := buffer.heard(now)) <= written
        buffer.write(ramp(written, count).tobytes(), now)
        written += count
        assert buffer.queued(now) == (written - heard) / RATE
    buffer.end(now)
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
        st.tuples(st.sampled_from(["write", "write", "hold", "resume"]), st.integers(FADE, 150)),
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
            buffer.resume(listener.now)
        elif not played or buffer.heard(listener.now) - played > FADE:
            buffer.hold(listener.now)
            played = buffer.heard(listener.now)
            tails[len(listener.out)] = played
        listener.listen(count)
    buffer.end(listener.now)
    buffer.resume(listener.now)
    listener.listen(listener.written + 1)
    listener.heard.append(buffer.heard(listener.now))

    by_position = np.zeros(listener.written + FADE, np.int64)
    tail_of = {begin + i: position + i for begin, position in tails.items() for i in range(FADE)}
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
        buffer, out, tick, written = PlayoutBuffer(AudioFormat(RATE)), [], 0, 0
        for turn, (count, pause) in enumerate(pieces):
            buffer.write(ramp(written, count).tobytes(), tick / RATE)
            written += count
            (buffer.hold if turn % 3 == 1 else buffer.resume)(tick / RATE)
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
    listener.write(PREBUFFER - 1)
    listener.listen(100)
    assert not listener.sound
    assert listener.buffer.audible_at is listener.buffer.ends_at is None
    listener.write(1)
    assert (listener.buffer.audible_at, listener.buffer.ends_at) == (0.1, 0.16)
    listener.listen(PREBUFFER)
    assert listener.out[100:] == ramp(0, PREBUFFER).tolist()


def test_a_short_reply_sounds_when_it_has_ended() -> None:
    listener = Listener()
    listener.write(5)
    listener.listen(20)
    listener.buffer.end(listener.now)
    listener.listen(5)
    assert listener.out == [0] * 20 + ramp(0, 5).tolist()
    assert listener.buffer.underruns == 0


def test_audio_that_comes_as_the_last_sample_sounds_leaves_no_gap() -> None:
    listener = Listener()
    listener.write(PREBUFFER)
    listener.listen(PREBUFFER)
    listener.write(1)
    listener.listen(1)
    listener.write(1)
    listener.listen(1)
    assert listener.out == ramp(0, PREBUFFER + 2).tolist()
    assert listener.buffer.underruns == 0


def test_the_prebuffer_doubles_with_each_underrun_and_halves_with_each_good_reply() -> None:
    buffer, now = PlayoutBuffer(AudioFormat(RATE)), 0.0
    seen = []
    for _ in range(4):
        buffer.write(ramp(0, 400).tobytes(), now)
        now += 1.0
        seen.append((buffer.underruns, buffer.prebuffer))
    assert seen == [(0, 0.06), (1, 0.12), (2, LONGEST_PREBUFFER), (3, LONGEST_PREBUFFER)]
    for least in (LONGEST_PREBUFFER, 0.1, 0.06, 0.06):
        buffer.start(now)
        assert (buffer.underruns, buffer.prebuffer) == (0, pytest.approx(least))


def test_an_underrun_counts_once_however_small_the_pieces_that_end_it() -> None:
    listener = Listener()
    listener.write(100)
    listener.listen(150)
    for _ in range(30):
        listener.write(4)
        listener.listen(1)
    listener.buffer.end(listener.now)
    listener.listen(200)
    assert listener.buffer.underruns == 1
    assert listener.sound == ramp(0, 220).tolist()


def test_the_end_of_a_reply_is_no_underrun() -> None:
    listener = Listener()
    listener.write(100)
    listener.listen(200)
    listener.buffer.end(listener.now)
    assert listener.buffer.drained
    listener.buffer.start(listener.now)
    listener.write(100)
    listener.listen(200)
    assert listener.buffer.underruns == 0


# ── soft, held, cut ──────────────────────────────────────────────────────────


def test_ducked_it_is_20_db_softer_and_misses_nothing() -> None:
    buffer = PlayoutBuffer(AudioFormat(RATE))
    loud = np.full(300, 10_000, np.int16)
    buffer.write(loud.tobytes(), 0.0)
    buffer.duck(0.1)
    buffer.resume(0.2)
    out = buffer.take(0.0, 310)
    assert pytest.approx(0.1) == DUCKED
    assert out[:101].tolist() == [10_000] * 101
    assert out[100:110].tolist() == list(range(10_000, 0, -1000))
    assert out[109:201].tolist() == [1000] * 92
    assert out[200:210].tolist() == list(range(1000, 11_000, 1000))
    assert out[209:300].tolist() == [10_000] * 91
    assert not out[300:].any()


def test_a_hold_fades_out_and_resumes_at_the_sample_where_the_fade_began() -> None:
    buffer = PlayoutBuffer(AudioFormat(RATE))
    buffer.write(np.full(150, 10_000, np.int16).tobytes(), 0.0)
    buffer.hold(0.05)
    buffer.hold(0.055)  # once more is no more
    assert buffer.heard(0.2) == 50
    assert buffer.queued(0.2) == 0.1
    assert buffer.ends_at is None
    buffer.resume(0.2)
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
    listener.buffer.hold(listener.now)
    listener.write(100)
    listener.listen(50)
    listener.buffer.resume(listener.now)
    listener.listen(120)
    listener.buffer.hold(listener.now)
    listener.listen(20)
    listener.buffer.resume(listener.now)
    listener.write(200)
    listener.listen(300)
    assert listener.sound == ramp(0, 300).tolist()


def test_a_hold_with_little_queued_fades_over_what_there_is() -> None:
    buffer = PlayoutBuffer(AudioFormat(RATE))
    buffer.write(np.full(64, 8000, np.int16).tobytes(), 0.0)
    buffer.hold(0.06)
    buffer.write(np.full(96, 8000, np.int16).tobytes(), 0.1)
    buffer.resume(0.2)
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
        listener.buffer.duck(listener.now)
    elif state == "hold":
        listener.buffer.hold(listener.now)
        listener.listen(FADE)
    cut = len(listener.out)
    before = listener.buffer.heard(listener.now)
    heard = listener.buffer.clear(listener.now)
    assert heard == before
    listener.write(500)  # late audio of the reply that was cut
    listener.buffer.resume(listener.now)
    listener.listen(600)
    assert not any(listener.out[cut + FADE :])
    assert (listener.out[cut : cut + FADE] <= ramp(heard, FADE)).all()
    assert listener.buffer.heard(listener.now) == heard
    assert listener.buffer.drained
    assert listener.buffer.queued(listener.now) == 0
    if state == "hold":
        assert not any(listener.out[cut:])


def test_the_next_reply_begins_at_once_over_the_fade_of_the_one_before() -> None:
    listener = Listener()
    listener.write(200)
    listener.listen(100)
    listener.buffer.start(listener.now)
    begun = len(listener.out)
    listener.buffer.write(np.full(100, 1000, np.int16).tobytes(), listener.now)
    listener.listen(150)
    fade = np.rint(ramp(100, FADE) * (1 - np.arange(FADE) / FADE)).astype(int)
    assert listener.out[begun : begun + FADE] == (1000 + fade).tolist()
    assert listener.out[begun + FADE : begun + 100] == [1000] * 90
    assert not any(listener.out[begun + 100 :])
    assert listener.heard[begun] == 0


def test_two_sounds_at_once_are_clipped_not_wrapped() -> None:
    buffer = PlayoutBuffer(AudioFormat(RATE))
    full = np.full(200, 32_767, np.int16).tobytes()
    buffer.write(full, 0.0)
    buffer.start(0.1)
    buffer.write(full, 0.1)
    assert buffer.take(0.0, 300).tolist() == [32_767] * 300


# ── what it says of itself ───────────────────────────────────────────────────


def test_silence_at_the_head_is_not_audible() -> None:
    buffer = PlayoutBuffer(AudioFormat(RATE))
    buffer.write(bytes(2 * 70) + np.full(30, 184, np.int16).tobytes(), 0.0)
    assert buffer.audible_at is None
    buffer.write(np.full(50, 185, np.int16).tobytes(), 0.02)
    assert buffer.audible_at == 0.1
    buffer.hold(0.05)
    assert buffer.audible_at is None
    buffer.resume(0.25)
    assert buffer.audible_at == 0.3
    assert buffer.heard(0.4) == 150
    assert buffer.audible_at == 0.3


def test_times_between_two_ticks_take_effect_at_the_next_one() -> None:
    buffer = PlayoutBuffer(AudioFormat(RATE))
    buffer.write(ramp(0, 100).tobytes(), 0.0104)
    assert buffer.audible_at == 0.011
    assert buffer.heard(0.011) == 0
    assert buffer.heard(0.0111) == 1
    assert buffer.heard(0.1 + 0.2 - 0.289) == 1  # 0.011 to the last bit but one: time stands still
    assert buffer.take(0.0, 14).tolist() == [0] * 11 + ramp(0, 3).tolist()


def test_what_was_taken_has_sounded() -> None:
    """A loudspeaker that has fetched samples plays them, whatever comes later."""
    buffer = PlayoutBuffer(AudioFormat(RATE))
    buffer.write(np.full(200, 7000, np.int16).tobytes(), 0.0)
    assert buffer.take(0.0, 100).tolist() == [7000] * 100
    assert buffer.clear(0.05) == 100
    assert buffer.take(0.1, 2 * FADE).tolist() == [*range(7000, 0, -700), *[0] * FADE]


def test_without_a_fade_everything_is_at_once() -> None:
    buffer = PlayoutBuffer(AudioFormat(RATE), fade=0.0)
    buffer.write(np.full(100, 9000, np.int16).tobytes(), 0.0)
    buffer.duck(0.02)
    buffer.resume(0.03)
    buffer.hold(0.04)
    buffer.resume(0.07)
    out = buffer.take(0.0, 200)
    assert out[:40].tolist() == [9000] * 20 + [900] * 10 + [9000] * 10
    assert out[40:].tolist() == [0] * 30 + [9000] * 60 + [0] * 70


@pytest.mark.parametrize("recorded", [True, False])
def test_memory_stays_flat_for_an_hour(recorded: bool) -> None:
    buffer = PlayoutBuffer(AudioFormat(48_000))
    tracemalloc.start()
    for second in range(3600):
        buffer.write(np.ones(48_000, np.int16).tobytes(), float(second))
        if recorded:
            buffer.take(float(second), 48_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert buffer.heard(3600.0) == 3600 * 48_000
    kept = 1 if recorded else 30  # seconds, for a recorder that does not come
    assert peak < (kept + 8) * 96_000
