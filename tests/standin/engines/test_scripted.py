"""Scripts as files, and the scripted engines by themselves."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import PROFILES
from voicecli import clock
from voicecli.audio.pcm import first_audible
from voicecli.audio.vad.energy import find_stretches
from voicecli.errors import InputError
from voicecli.standin.engines import Result, Segment
from voicecli.standin.engines.scripted import ScriptedStt, create_scripted_engines
from voicecli.standin.script import Fault, Latency, LlmScript, Script, SttScript, TtsScript
from voicecli.standin.script_file import load_script
from voicecli.units import AudioBlock, AudioFormat, Seconds

DEMO = PROFILES / "scripts" / "demo.yaml"


def loaded(tmp_path: Path, text: str) -> Script:
    file = tmp_path / "script.yaml"
    file.write_text(text, encoding="utf-8")
    return load_script(file)


# ── files ────────────────────────────────────────────────────────────────────


def test_the_shipped_script_is_three_turns_with_the_usual_latencies() -> None:
    script = load_script(DEMO)

    assert len(script.stt.hears) == len(script.llm.says) == 3
    usual = Script()
    assert (script.stt.final, script.stt.finalize) == (usual.stt.final, usual.stt.finalize)
    assert (script.llm.ttft, script.llm.token) == (usual.llm.ttft, usual.llm.token)
    assert script.tts == usual.tts
    assert script.faults == ()


def test_an_empty_script_has_the_usual_values(tmp_path: Path) -> None:
    assert loaded(tmp_path, "") == Script()


def test_every_key_has_its_place(tmp_path: Path) -> None:
    script = loaded(
        tmp_path,
        """
        seed: 7
        stt: {final_ms: 90, finalize_ms: 40, finalize_silence: false, interim_ms: 250, gap_ms: 300,
              hears: [One., Two.]}
        llm: {ttft_ms: {p50: 200, p95: 500}, token_ms: 10, says: [Yes.]}
        tts: {ttfb_ms: {p50: 120, stall_share: 0.02, stall_ms: [2000, 8000]},
              speed: 2.5, char_ms: 50, lead_ms: 30}
        faults:
          - {service: llm, kind: refuse, status: 429, on: 2}
          - {service: stt, kind: finalize_lost, on: every}
          - {service: tts, kind: stall, on: 3, after_ms: 150, for_ms: 4000}
        """,
    )

    assert script == Script(
        seed=7,
        stt=SttScript(Latency(0.09), Latency(0.04), False, 0.25, 0.3, ("One.", "Two.")),
        llm=LlmScript(Latency(0.2, 0.5), Latency(0.01), ("Yes.",)),
        tts=TtsScript(Latency(0.12, None, 0.02, (2.0, 8.0)), 2.5, 0.05, 0.03),
        faults=(
            Fault("llm", "refuse", on=2, status=429),
            Fault("stt", "finalize_lost", on="every"),
            Fault("tts", "stall", on=3, after=0.15, lasts=4.0),
        ),
    )


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("stt: {final: 90}", "stt.final is no key of a script. Did you mean final_ms?"),
        ("llm: {ttft_ms: soon}", "llm.ttft_ms must be a number, not 'soon'"),
        ("llm: {ttft_ms: -1}", "llm.ttft_ms must be at least 0, not -1"),
        ("llm: {ttft_ms: {p50: 200, p95: 100}}", "llm.ttft_ms.p95 must be at least 200, not 100"),
        (
            "llm: {ttft_ms: {p50: 9, stall_ms: 3}}",
            "llm.ttft_ms.stall_ms must be a list of the least and the most",
        ),
        ("stt: {hears: []}", "stt.hears must be a list of at least one text"),
        ("stt: {hears: [Yes., 3]}", "stt.hears[1] must be a text, not 3"),
        ("stt: {finalize_silence: 1}", "stt.finalize_silence must be true or false, not 1"),
        ("tts: [1]", "tts must be a mapping of keys"),
        ("- 1", "a script must be a mapping of keys"),
        ("faults: {}\nsed: 1", "sed is no key of a script. Did you mean seed?"),
        ("faults: 3", "faults must be a list"),
        (
            "faults: [{service: stt, kind: refuse}, {service: sst}]",
            "faults[1].service must be one of stt, llm, tts, not 'sst'",
        ),
        (
            "faults: [{service: llm, kind: lost}]",
            "faults[0].kind must be one of refuse, drop, stall, half_open, malformed, not 'lost'",
        ),
        (
            "faults: [{service: llm, kind: refuse, status: 200}]",
            "faults[0].status must be from 400 to 599, not 200",
        ),
    ],
)
def test_a_mistake_is_said_with_file_and_key(tmp_path: Path, text: str, cause: str) -> None:
    with pytest.raises(InputError) as caught:
        loaded(tmp_path, text)

    assert str(caught.value) == f"{tmp_path / 'script.yaml'}: {cause}"


def test_what_is_no_yaml_is_said_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"script\.yaml:3: "):
        loaded(tmp_path, "stt:\n  hears: [\n")


def test_a_file_that_is_not_there_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_script(tmp_path / "none.yaml")


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
    assert first_audible(pcm) == 0
    assert [*find_stretches([AudioBlock(pcm, 0.0)], AudioFormat(rate))] == [
        (0.0, pytest.approx(length, abs=0.01))
    ]
