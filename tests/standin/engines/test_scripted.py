"""The scripted engines by themselves."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicecli import clock
from voicecli.audio.pcm import find_audible, samples_of
from voicecli.audio.vad.energy import find_stretches
from voicecli.standin.engines import Result, Segment
from voicecli.standin.engines.scripted import ScriptedStt, create_scripted_engines
from voicecli.standin.script import Latency, Script, SttScript
from voicecli.units import AudioBlock, AudioFormat, Seconds

# ── latencies ────────────────────────────────────────────────────────────────


def test_a_plain_latency_is_always_the_same() -> None:
    assert {Latency(0.1).draw(random.Random(n)) for n in range(100)} == {0.1}


def test_a_drawn_latency_has_its_percentiles() -> None:
    rng = random.Random(1)
    drawn = sorted(Latency(0.2, 0.5).draw(rng) for _ in range(10_001))

    assert drawn[5_000] == pytest.approx(0.2, rel=0.02)
    assert drawn[9_500] == pytest.approx(0.5, rel=0.05)


def test_a_share_of_the_latencies_stalls() -> None:
    rng = random.Random(1)
    drawn = [Latency(0.2, None, 0.1, (2.0, 8.0)).draw(rng) for _ in range(1_000)]

    stalled = [time for time in drawn if time != 0.2]
    assert 80 <= len(stalled) <= 120
    assert all(2.2 <= time <= 8.2 for time in stalled)


# ── recognising ────────────────────────────────────────────────────────────

RATE = 16_000


def recognise(
    hears: tuple[str, ...], *asked: tuple[Seconds, list[tuple[Seconds, Seconds]], Result]
) -> list[str]:
    stt = ScriptedStt(SttScript(hears=hears, gap=0.4))

    async def main() -> list[str]:
        return [
            await stt.recognise(
                Segment(AudioFormat(RATE).silence(length), RATE, tuple(voiced)), result
            )
            for length, voiced, result in asked
        ]

    return clock.run(main(), virtual=True)


def test_an_interim_has_three_words_a_second_until_the_gap() -> None:
    texts = recognise(
        ("one two three four five six",),
        (0.1, [(0.0, 0.1)], "interim"),
        (1.0, [(0.0, 1.0)], "interim"),
        (1.3, [(0.0, 1.0)], "interim"),
        (1.4, [(0.0, 1.0)], "interim"),
    )

    assert texts == ["one", "one two three", "one two three", "one two three four five six"]


def test_dips_within_a_stretch_do_not_count() -> None:
    voiced = [(0.0, 0.5), (0.55, 1.0), (1.3, 1.5)]

    assert recognise(("one two", "three"), (2.0, voiced, "final")) == ["one two"]


def test_a_forced_final_leaves_the_rest_of_its_item_to_the_next_segment() -> None:
    texts = recognise(
        ("one two three four five six", "seven"),
        (1.05, [(0.0, 1.0)], "forced"),
        (0.4, [(0.05, 0.35)], "interim"),
        (1.0, [(0.05, 0.6)], "final"),
        (1.0, [(0.05, 0.6)], "final"),
    )

    assert texts == ["one two three", "four", "four five six", "seven"]


def test_a_forced_final_in_a_gap_between_two_items_has_all_of_the_first() -> None:
    texts = recognise(
        ("one two three four five six", "seven"),
        (1.25, [(0.0, 1.0)], "forced"),  # the middle of a gap of half a second
        (1.0, [(0.25, 0.6)], "final"),
    )

    assert texts == ["one two three four five six", "seven"]


@given(st.lists(st.sampled_from(["interim", "forced", "final"]), min_size=1, max_size=12))
def test_no_word_comes_twice_and_none_is_lost(results: list[Result]) -> None:
    items = tuple(" ".join(f"{item}.{word}" for word in range(7)) for item in range(20))

    asked = [(1.05, [(0.05, 1.0)], result) for result in [*results, "final"]]
    texts = recognise(items, *asked)

    final = [text for text, (_, _, result) in zip(texts, asked, strict=True) if result != "interim"]
    said = " ".join(filter(None, final)).split()
    assert said == " ".join(items).split()[: len(said)]
    assert len(said) % 7 == 0


# ── speaking ─────────────────────────────────────────────────────────────────


async def spoken(voice: AsyncGenerator[bytes, None]) -> bytes:
    return b"".join([chunk async for chunk in voice])


@pytest.mark.parametrize("rate", [8_000, 24_000, 48_000])
def test_a_text_is_one_stretch_of_voice_audible_from_its_first_sample(rate: int) -> None:
    text = "A sentence of some length, which takes almost four seconds to be said."
    tts = create_scripted_engines(Script()).tts

    pcm = clock.run(spoken(tts.speak(text, rate)), virtual=True)

    length = 0.06 * len(text)
    assert len(pcm) == 2 * round(length * rate)
    assert find_audible(samples_of(pcm)) == 0
    assert [*find_stretches([AudioBlock(pcm, 0.0)], AudioFormat(rate))] == [
        (0.0, pytest.approx(length, abs=0.01))
    ]
