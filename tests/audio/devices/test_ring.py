"""The ring: what is drawn is what was written; cuts fade, and lose nothing that goes on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from voicecli.audio.devices.ring import Ring
from voicecli.audio.playout import DUCKED, FADE, LONGEST_PREBUFFER, PREBUFFER

RATE = 16_000
BLOCK = 160
FADE_SAMPLES = round(FADE * RATE)
PREBUFFER_SAMPLES = round(PREBUFFER * RATE)

Sound = NDArray[np.int16]


class Card:
    """Draws blocks, each of which sounds 30 ms after it was drawn."""

    def __init__(self, ring: Ring, block: int = BLOCK) -> None:
        self.ring, self.block = ring, block
        self.now = 0.0
        self.played: list[Sound] = []

    def draw(self, blocks: int = 1) -> Sound:
        drawn = []
        for _ in range(blocks):
            drawn.append(self.ring.draw(self.block, self.now + 0.03))
            self.now += self.block / RATE
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


def playing(sound: Sound) -> tuple[Ring, Card]:
    ring = Ring(RATE)
    ring.start()
    ring.write(sound)
    ring.end()
    return ring, Card(ring)


@given(
    pieces=st.lists(st.integers(0, 900), min_size=1, max_size=12), block=st.sampled_from([80, 333])
)
def test_what_is_drawn_is_what_was_written(pieces, block):
    sound = counting(sum(pieces))
    ring = Ring(RATE)
    ring.start()
    for piece in np.split(sound, np.cumsum(pieces)[:-1]):
        ring.write(piece)
    ring.end()
    drawn = Card(ring, block).draw(len(sound) // block + 2)
    assert np.array_equal(drawn[: len(sound)], sound)
    assert not drawn[len(sound) :].any()
    assert ring.drained


def test_nothing_sounds_before_the_prebuffer_is_full():
    ring = Ring(RATE)
    card = Card(ring)
    ring.start()
    ring.write(steady(PREBUFFER_SAMPLES - 1))
    assert not card.draw(3).any()
    ring.write(steady(1))
    assert card.draw()[0] == 10_000


def test_a_longer_prebuffer_is_waited_for():
    ring = Ring(RATE, prebuffer=0.3)
    card = Card(ring)
    ring.start()
    ring.write(steady(round(0.3 * RATE) - 1))
    assert not card.draw(3).any()
    ring.write(steady(1))
    assert card.draw()[0] == 10_000


def test_the_end_of_a_reply_waits_for_no_prebuffer():
    _, card = playing(counting(10))
    assert np.array_equal(card.draw()[:10], counting(10))


def test_times_are_those_of_the_samples_not_of_the_blocks():
    sound = np.concatenate([np.zeros(200, np.int16), steady(1000)])
    ring, card = playing(sound)
    card.draw(3)
    assert ring.audible_at == pytest.approx(0.03 + 200 / RATE)
    assert ring.ends_at == pytest.approx(0.03 + 3 * BLOCK / RATE)


def test_heard_is_what_has_sounded_not_what_was_drawn():
    ring, card = playing(steady(10_000))
    card.draw(20)
    assert ring.heard(0.0) == 0
    assert ring.heard(0.03 + 100 / RATE) == 100
    assert ring.heard(0.03 + 5000 / RATE) == 20 * BLOCK


@given(before=st.integers(1, 20), silent=st.integers(1, 20), block=st.integers(FADE_SAMPLES, 400))
def test_hold_and_resume_lose_no_sample(before, silent, block):
    sound = (5000 * np.sin(np.arange(12_000) / 9)).astype(np.int16)
    ring, card = playing(sound)
    card.block = block
    card.draw(before)
    at = before * block
    ring.hold()
    held = card.draw(silent)
    ring.resume()
    rest = card.draw(12_000 // block + 2)
    assert not held[FADE_SAMPLES:].any()
    joined = rest[: len(sound) - at].astype(float)
    joined[:FADE_SAMPLES] += held[:FADE_SAMPLES]  # the one fade falls as the other rises
    assert np.abs(joined - sound[at:]).max() <= 1


def test_a_held_reply_is_heard_up_to_where_it_goes_on():
    ring, card = playing(steady(10_000))
    card.draw(5)
    ring.hold()
    card.draw(100)
    assert ring.heard(card.now) == 5 * BLOCK
    ring.resume()
    card.draw(10)
    assert ring.heard(card.now + 0.03) == 15 * BLOCK


def test_written_while_held_sounds_after():
    ring = Ring(RATE)
    card = Card(ring)
    ring.start()
    ring.write(counting(1000))
    card.draw(2)
    ring.hold()
    card.draw(2)
    ring.write(counting(1000, first=1001))
    ring.end()
    ring.resume()
    assert card.draw(15)[2000 - 2 * BLOCK - 1] == 2000


@given(before=st.integers(1, 30), block=st.integers(40, 400))
def test_after_a_clear_only_the_fade_of_the_old_reply_sounds(before, block):
    ring, card = playing(steady(20_000, -7000))
    card.block = block
    card.draw(before)
    ring.clear()
    ring.write(steady(5000, -7000))  # late audio of the reply that was cleared
    ring.start()
    ring.write(steady(5000, 3000))
    ring.end()
    rest = card.draw(5000 // block + 2)
    old = min(FADE_SAMPLES, 20_000 - before * block)
    assert (rest[:old] <= 0).all()
    assert (np.diff(rest[:old].astype(int)) >= 0).all()  # softer and softer
    assert (rest[old : old + 5000] == 3000).all()


def test_a_clear_while_held_is_silent_at_once():
    ring, card = playing(steady(10_000))
    card.draw(2)
    ring.hold()
    card.draw(2)
    ring.clear()
    assert not card.draw(5).any()


def test_ducked_is_20_db_softer_and_resumed_as_loud_as_before():
    ring, card = playing(steady(10_000))
    card.draw(2)
    ring.duck()
    ducked = card.draw(3)
    ring.resume()
    resumed = card.draw(3)
    assert (ducked[FADE_SAMPLES:] == 10_000 * DUCKED).all()
    assert (np.abs(np.diff(ducked.astype(int))) < 120).all()  # no click
    assert (resumed[FADE_SAMPLES:] == 10_000).all()
    assert ring.heard(card.now + 1) == 8 * BLOCK


def test_a_new_reply_is_as_loud_as_ever():
    ring, card = playing(steady(10_000))
    ring.duck()
    card.draw(2)
    ring.start()
    ring.write(steady(1000))
    ring.end()
    assert card.draw(3)[FADE_SAMPLES + 1] == 10_000


def test_running_dry_fades_counts_and_waits_for_more_than_before():
    ring = Ring(RATE)
    card = Card(ring)
    ring.start()
    ring.write(steady(PREBUFFER_SAMPLES))
    drawn = card.draw(PREBUFFER_SAMPLES // BLOCK + 3)
    assert ring.underruns == 1
    assert np.abs(np.diff(drawn[BLOCK:].astype(int))).max() < 120  # no click
    ring.write(steady(2 * PREBUFFER_SAMPLES - 1))
    assert not card.draw(3).any()
    ring.write(steady(1))
    again = card.draw(3)
    assert again[FADE_SAMPLES + 1] == 10_000
    assert again[0] == 0


def test_the_prebuffer_grows_to_its_limit_and_shrinks_with_clean_replies():
    ring = Ring(RATE)
    card = Card(ring)

    def waits_for() -> int:
        written = 0
        while not card.draw().any():
            ring.write(steady(BLOCK))
            written += BLOCK
        return written

    ring.start()
    waits = []
    for _ in range(4):
        waits.append(waits_for())
        while not ring.underruns or card.draw().any():
            card.draw()
    assert waits[0] == PREBUFFER_SAMPLES
    assert waits[-1] <= LONGEST_PREBUFFER * RATE + BLOCK
    assert waits == sorted(waits)
    for _ in range(4):
        ring.start()
        ring.write(steady(BLOCK))
        ring.end()
        card.draw(2)
    ring.start()
    assert waits_for() == PREBUFFER_SAMPLES


def test_a_successor_goes_on_where_it_is_told_in_the_same_state():
    ring, card = playing(steady(10_000))
    ring.duck()
    card.draw(2)
    other = ring.successor(48_000)
    other.write(steady(9000))
    other.end()
    drawn = other.draw(4800, 0.0)
    assert drawn[0] == 0
    assert (drawn[round(FADE * 48_000) :] == 1000).all()
    assert other.audible_at == ring.audible_at
