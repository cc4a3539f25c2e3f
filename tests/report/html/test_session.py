"""The page of a session, as text: what it says, and that foreign text stays text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.support.timelines import NASTY, Exchange
from voicecli.errors import InputError
from voicecli.events import ErrorCalibrated
from voicecli.metrics.labels import Span
from voicecli.profile import load_profile
from voicecli.report.html.conversation import OPEN_TURNS, Conversation
from voicecli.report.html.marks import list_marks
from voicecli.report.html.page import read_asset
from voicecli.report.html.recording import Recording, read_recording
from voicecli.report.html.session import SessionPage
from voicecli.report.measurement import measure_session
from voicecli.timeline import Entry, Timeline

HOSTILE = f"</script></style><script>alert(1)</script>\"' onload=x &amp;{NASTY}"


class Reader(HTMLParser):
    """Tags, texts and identifiers of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page_of(
    entries: list[Entry],
    recording: Recording | None = None,
    labels: Sequence[Span] = (),
    **more: Any,
) -> SessionPage:
    measured = measure_session(Timeline(entries), load_profile("scripted"), None)
    marks = list_marks(entries, measured.turns, measured.interaction)
    shown = Conversation(measured=measured, marks=marks, recording=recording, labels=labels)
    values: dict[str, Any] = {"name": "session", "conditions": ["virtual time"], **more}
    return SessionPage(conversation=shown, **values)


@pytest.fixture
def conversation(tmp_path: Path) -> Path:
    """Ten seconds of both voices."""
    sound = np.zeros((160_000, 2), np.int16)
    sound[:16_000, 0] = sound[32_000:48_000, 1] = 9_000
    path = tmp_path / "conversation.wav"
    soundfile.write(path, sound, 16_000)
    return path


def test_numbers_come_with_their_conditions() -> None:
    text = Reader(page_of(Exchange().entries()).render()).text
    assert "mouth-to-ear, P50 726 ms n = 1" in text
    assert "mouth-to-ear, P95 withheld n = 1, 20 needed" in text
    assert "turns 1 1 answered cut-offs 0 of 1 turn no reply 0 of 1 turn" in text
    assert "virtual time" in text


def test_the_error_of_the_measurement_is_beside_it() -> None:
    calibrated = ErrorCalibrated(at=0.0, error=0.0081, signals=20)
    text = Reader(page_of([calibrated, *Exchange().entries()]).render()).text
    assert "mouth-to-ear, P50 726 ms n = 1, each ± 9 ms" in text
    assert "#1 726 ms ± 9 answered" in text


def test_a_turn_without_measurement_is_told_too() -> None:
    text = Reader(page_of(Exchange(ends="llm failed").entries()).render()).text
    assert "#1 not measured failed" in text
    assert "LLM failed: no token" in text
    assert "No turn was measured" in text


def test_a_session_without_turns_has_a_page() -> None:
    assert "No turn was committed." in page_of([]).render()


def test_prediction_beside_the_measurement() -> None:
    predicted = {
        "n": 7,
        "p50_ms": 700.0,
        "p95_ms": None,
        "mean_stages_ms": {"stt.ttfs": 320.0, "llm.ttft": 180.0},
    }
    reader = Reader(page_of(Exchange().entries(), predicted=predicted).render())
    assert "mouth_to_ear P50 700 726 +26 mouth_to_ear P95 – – –" in reader.text
    assert "stt.ttfs 320 300 -20" in reader.text
    assert "Measured: n = 1. Predicted from a probe with n = 7." in reader.text
    assert "predicted P50 700" in reader.text


def test_a_probe_of_before_has_no_stages() -> None:
    predicted = {"p50_ms": 700.0, "p95_ms": 900.0}
    text = Reader(page_of(Exchange().entries(), predicted=predicted).render()).text
    assert "mouth_to_ear P95 900 – –" in text


def test_expectations_and_labels_are_shown(conversation: Path) -> None:
    page = page_of(
        Exchange().entries(),
        verdicts=[(False, "✗ mouth_to_ear.p50<1: 726"), (True, "✓ no_reply==0: 0")],
        recording=read_recording(conversation),
        labels=[Span(start=0, end=1, kind="turn", expect="respond", text="Hello")],
    )
    reader = Reader(page.render())
    assert "✗ mouth_to_ear.p50<1: 726 ✓ no_reply==0: 0" in reader.text
    assert ("class", "missed") in reader.attributes
    assert "label turn “Hello”, 0.00–1.00 s, the agent should respond" in reader.text


def test_foreign_text_stays_text(conversation: Path) -> None:
    entries = Exchange(text=HOSTILE, said=HOSTILE).entries()
    page = page_of(
        entries,
        name=HOSTILE,
        conditions=[HOSTILE],
        recording=read_recording(conversation),
        labels=[Span(start=0, end=1, kind="turn", expect="respond", text=HOSTILE)],
        predicted={"n": HOSTILE, "p50_ms": 700.0, "p95_ms": None},
    ).render()
    plain = page_of(Exchange().entries(), recording=read_recording(conversation)).render()
    hostile, harmless = Reader(page), Reader(plain)
    assert hostile.tags.count("script") == harmless.tags.count("script") == 1
    assert not [name for name, _ in hostile.attributes if name.startswith("on")]
    assert "</script></style><script>alert(1)</script>" in hostile.text
    assert "\x1b" not in page
    assert "sk-abcdefghijkl" not in page
    assert re.findall(r"(?:src|href)=\"(?!data:audio/ogg;|#)[^\"]*", page) == []


def test_the_policy_allows_our_script_and_no_network() -> None:
    reader = Reader(page_of(Exchange().entries()).render())
    policies = [value for name, value in reader.attributes if name == "content" and value]
    (policy,) = [one for one in policies if one.startswith("default-src 'none'")]
    assert "http" not in policy
    assert "script-src 'sha256-" in policy
    assert "unsafe-inline" not in policy.partition("script-src")[2]


def test_what_goes_into_the_page_raw_cannot_end_its_element() -> None:
    for name in ("page.js", "page.css", "picture.css"):
        assert "</" not in read_asset(name)


def test_the_same_session_gives_the_same_page(conversation: Path) -> None:
    def render() -> str:
        sound = read_recording(conversation)
        return page_of(Exchange().entries(), recording=sound).render()

    strip = re.compile(r"base64,[^\"]*")  # an Ogg stream has a random serial number
    assert strip.sub("", render()) == strip.sub("", render())


def test_many_turns_are_folded() -> None:
    entries = [
        entry
        for number in range(1, OPEN_TURNS + 2)
        for entry in replace(Exchange(), number=number, start=5.0 * number).entries()
    ]
    few = entries[: len(entries) // (OPEN_TURNS + 1) * OPEN_TURNS]
    assert page_of(few).render().count('<details class="turn"') == OPEN_TURNS
    assert len(re.findall(r'class="turn"[^>]* open', page_of(few).render())) == OPEN_TURNS
    assert len(re.findall(r'class="turn"[^>]* open', page_of(entries).render())) == 0


def test_every_linked_definition_is_there() -> None:
    page = page_of(Exchange().entries()).render()
    links = set(re.findall(r'href="#([^"]*)"', page))
    assert links
    assert links <= set(re.findall(r' id="([^"]*)"', page))


def test_a_sound_that_is_too_long_is_left_out_with_a_note(
    conversation: Path,
) -> None:
    read = read_recording(conversation, most_sound=1000)
    assert read.sound is None
    page = page_of(Exchange().entries(), recording=read).render()
    assert "The sound is too long to be kept in this file." in page
    assert "<audio" not in page
    assert 'class="area waveform"' in page


def test_the_envelope_is_the_recording(conversation: Path) -> None:
    envelope = read_recording(conversation).envelope
    assert envelope.length == pytest.approx(10)
    loud = np.flatnonzero(envelope.user) / envelope.rate
    assert (loud[0], loud[-1]) == pytest.approx((0, 1), abs=1.01 / envelope.rate)
    assert envelope.agent.max() == pytest.approx(9_000 / 32_768)


def test_what_is_no_conversation(tmp_path: Path) -> None:
    path = tmp_path / "conversation.wav"
    soundfile.write(path, np.zeros(100), 16_000)
    with pytest.raises(InputError, match="is not a recording by voicecli"):
        read_recording(path)
    path.write_bytes(b"RIFF")
    with pytest.raises(InputError, match="cannot be read"):
        read_recording(path)
