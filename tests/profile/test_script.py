"""Scripts as files: every key, and what is said of the wrong ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from voicecli.errors import ProfileError
from voicecli.profile import load_script, script_schema
from voicecli.settings import Setting, list_settings
from voicecli.standin.script import (
    Fault,
    Latency,
    LlmScript,
    ReplyScript,
    Script,
    SttScript,
    TtsScript,
)


def load(tmp_path: Path, text: str) -> Script:
    (tmp_path / "script.yaml").write_text(text, encoding="utf-8")
    return load_script("script.yaml", tmp_path)


def test_the_shipped_script_is_three_turns_with_the_default_latencies() -> None:
    script = load_script("demo")

    assert len(script.stt.hears) == len(script.llm.says) == 3
    default = Script()
    assert (script.stt.final, script.stt.finalize) == (default.stt.final, default.stt.finalize)
    assert (script.llm.ttft, script.llm.token) == (default.llm.ttft, default.llm.token)
    assert script.tts == default.tts
    assert script.faults == ()


@pytest.mark.parametrize("text", ["", "stt:\nfaults:\n"])
def test_an_empty_script_has_the_default_values(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, text) == Script()


def test_every_key_has_its_place(tmp_path: Path) -> None:
    script = load(
        tmp_path,
        """
        seed: 7
        stt: {final_ms: 90, finalize_ms: 40, finalize_silence: false, interim_ms: 250,
              interim_lag_ms: 80, words_per_second: 2.5, gap_ms: 300, hears: [One., Two.]}
        llm: {ttft_ms: {p50: 200, p95: 500}, token_ms: 10, says: [Yes.],
              models: {gpt-4o: {ttft_ms: 400}, llama: {token_ms: {p95: 90}, says: [No.]}}}
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
        stt=SttScript(Latency(0.09), Latency(0.04), False, 0.25, 0.08, 2.5, 0.3, ("One.", "Two.")),
        llm=LlmScript(
            Latency(0.2, 0.5),
            Latency(0.01),
            ("Yes.",),
            {
                "gpt-4o": ReplyScript(Latency(0.4)),
                "llama": ReplyScript(token=Latency(0.015, 0.09), says=("No.",)),
            },
        ),
        tts=TtsScript(Latency(0.12, None, 0.02, (2.0, 8.0)), 2.5, 0.05, 0.03),
        faults=(
            Fault("llm", "refuse", on=2, status=429),
            Fault("stt", "finalize_lost", on="every"),
            Fault("tts", "stall", on=3, after=0.15, lasts=4.0),
        ),
    )


def test_a_latency_without_a_median_has_the_default_one(tmp_path: Path) -> None:
    script = load(tmp_path, "llm: {ttft_ms: {p95: 500}}\nstt: {final_ms: {stall_share: 1}}")

    assert script.llm.ttft == Latency(0.2, 0.5)
    assert script.stt.final == Latency(0.1, None, 1.0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("stt: {final: 90}", "unknown key stt.final. Did you mean stt.final_ms?"),
        (
            "llm: {models: {a: {ttft: 90}}}",
            "unknown key llm.models.a.ttft. Did you mean llm.models.a.ttft_ms?",
        ),
        ("llm: {models: {a: 5}}", "llm.models.a should be a mapping of keys, not 5"),
        (
            "llm: {models: {a: {says: []}}}",
            "llm.models.a.says must have at least one text, and no blank one",
        ),
        (
            "llm: {ttft_ms: soon}",
            'llm.ttft_ms.p50 should be a number from 0 to 600000, not "soon"',
        ),
        ("llm: {ttft_ms: -1}", "llm.ttft_ms.p50 should be a number from 0 to 600000, not -1"),
        (
            "llm: {ttft_ms: {p50: 200, p95: 100}}",
            "llm.ttft_ms.p95 must be at least p50, and p50 above 0",
        ),
        ("llm: {ttft_ms: {p50: 9, stall_ms: 3}}", "llm.ttft_ms.stall_ms should be a list, not 3"),
        ("llm: {ttft_ms: {p50: 9, stall_ms: [3]}}", "llm.ttft_ms.stall_ms[1] is missing"),
        ("llm: {says: [Yes., ' ']}", "llm.says must have at least one text, and no blank one"),
        ("llm: {says: []}", "llm.says must have at least one text, and no blank one"),
        ("stt: {hears: []}", "stt.hears must have at least one text"),
        ("stt: {hears: [Yes., 3]}", "stt.hears[1] should be text, not 3"),
        ("stt: {finalize_silence: 1}", "stt.finalize_silence should be true or false, not 1"),
        ("stt: {interim_ms: 9}", "stt.interim_ms should be a number from 10 to 600000, not 9"),
        ("tts: {char_ms: 4.0e+241}", "tts.char_ms should be a number from 1 to 1000, not 4e+241"),
        ("tts: [1]", "tts should be a mapping of keys, not [1]"),
        ("- 1", "a script must be a mapping of sections"),
        ("sed: 1", "unknown key sed. Did you mean seed?"),
        ("faults: 3", "faults should be a list, not 3"),
        (
            "faults: [{service: stt, kind: refuse}, {service: sst, kind: refuse}]",
            'faults[1].service should be stt, llm or tts, not "sst"',
        ),
        ("faults: [{service: llm}]", "faults[0].kind is missing"),
        (
            "faults: [{service: llm, kind: odd_frames}]",
            "faults[0].kind must be one of refuse, drop, stall, half_open, malformed, "
            "not 'odd_frames'",
        ),
        (
            "faults: [{service: llm, kind: refuse, status: 200}]",
            "faults[0].status should be a whole number from 400 to 599, not 200",
        ),
        (
            "faults: [{service: llm, kind: refuse, on: 0}]",
            'faults[0].on should be a whole number of at least 1 or "every", not 0',
        ),
    ],
)
def test_a_mistake_is_reported_with_file_line_and_key(
    tmp_path: Path, text: str, problem: str
) -> None:
    with pytest.raises(ProfileError) as caught:
        load(tmp_path, f"# a comment\n{text}")

    line = 2 if text != "- 1" else 1
    assert str(caught.value) == f"script.yaml:{line}: {problem}"


def test_every_mistake_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ProfileError) as caught:
        load(tmp_path, "faults: {}\nsed: 1\n")

    assert str(caught.value).splitlines() == [
        "script.yaml:1: faults should be a list, not {}.",
        "script.yaml:2: unknown key sed. Did you mean seed?",
    ]


def test_invalid_yaml_is_reported_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"script\.yaml:3: "):
        load(tmp_path, "stt:\n  hears: [\n")


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"there is no file none\.yaml"):
        load_script("none.yaml", tmp_path)


def test_every_duration_has_an_upper_limit() -> None:
    """A stand-in that speaks for 1e240 ms would keep a replay in virtual time busy for ever."""
    durations = [one for one in list_all_settings(Script) if one.unit]

    assert len(durations) >= 18
    assert [one for one in durations if one.le is None] == []


def list_all_settings(kind: Any) -> Iterator[Setting]:
    """List what is declared in a section, and in those below it."""
    hints = get_type_hints(kind)
    for name, _, declared in list_settings(kind):
        yield declared
        for part in (hints[name], *get_args(hints[name])):
            if is_dataclass(part):
                yield from list_all_settings(part)


def test_the_schema_allows_a_number_or_a_mapping_for_a_latency() -> None:
    schema = script_schema()
    ttft = schema["properties"]["llm"]["properties"]["ttft_ms"]
    number, latency = ttft["anyOf"]

    assert number == {"type": "number", "minimum": 0}
    assert latency["type"] == "object"
    assert ttft["default"] == 200
    assert "p50" in latency["properties"]
    assert "required" not in latency
    assert set(schema["properties"]) == {"seed", "stt", "llm", "tts", "faults"}
