"""What a session keeps: its recording begins with the session, whatever the loop did before."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from htpy import div

from tests.support.conversations import profile
from tests.support.speech_like import alternate_speech
from voicecli import clock
from voicecli.audio.pcm import find_audible, samples_of
from voicecli.audio.recorder import CONVERSATION
from voicecli.cli.app import run
from voicecli.events import RecorderStarted
from voicecli.metrics.interaction import Interaction, ScoredEvent
from voicecli.metrics.labels import Labels, Span
from voicecli.metrics.recording import find_kept_start
from voicecli.pipeline.recording import play_recording
from voicecli.pipeline.wiring import open_services
from voicecli.profile import Profile
from voicecli.report.html.conversation import Conversation, read_conversation
from voicecli.report.html.turn_taking import compose_faults
from voicecli.report.interaction_lines import list_faults
from voicecli.report.measurement import Measurement, measure_session
from voicecli.timeline import TIMELINE, Timeline, load
from voicecli.units import Seconds

LONG_AGO: Seconds = 348.0
"""How long the loop has run before the session begins, as for the last recordings of a corpus."""

LEAD: Seconds = 0.8
SPOKEN: Seconds = 0.9

LABELS = Labels(
    spans=(Span(start=LEAD, end=LEAD + SPOKEN, kind="turn", expect="respond", text=""),)
)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """One question, and a second of silence."""
    pcm, _ = alternate_speech(LEAD, SPOKEN, 1.0)
    soundfile.write(tmp_path / "question.wav", samples_of(pcm), 16_000)
    return tmp_path / "question.wav"


async def play(file: Path, settings: Profile, folder: Path, waited: Seconds) -> Timeline:
    await asyncio.sleep(waited)
    timeline = Timeline()
    async with open_services(settings) as services:
        await play_recording(file, "auto", settings, services, folder, timeline, labels=LABELS)
    return timeline


def keep(file: Path, folder: Path, waited: Seconds) -> tuple[Measurement, Conversation]:
    """Play ``file`` on a loop that has run for ``waited``; return what is measured and shown."""
    settings = profile()
    playing: Coroutine[None, None, Timeline] = play(file, settings, folder, waited)
    clock.run(playing, virtual=True)
    timeline = load(folder / TIMELINE).timeline
    measured = measure_session(timeline, settings, folder, LABELS)
    return measured, read_conversation(timeline, measured, folder, LABELS)


def test_a_session_on_an_old_loop_is_kept_like_one_on_a_new_loop(
    recording: Path, tmp_path: Path
) -> None:
    fresh, shown_fresh = keep(recording, tmp_path / "fresh", 0.0)
    late, shown_late = keep(recording, tmp_path / "late", LONG_AGO)
    assert late.turns[0].at > LONG_AGO
    for one in (fresh, late):
        (turn,) = one.turns
        assert turn.mouth_to_ear is not None
        assert not turn.unreliable
    assert late.turns[0].mouth_to_ear == pytest.approx(fresh.turns[0].mouth_to_ear, abs=1e-6)
    kept, _ = soundfile.read(tmp_path / "late" / CONVERSATION, dtype="int16")
    beside, _ = soundfile.read(tmp_path / "fresh" / CONVERSATION, dtype="int16")
    assert abs(len(kept) - len(beside)) <= 1
    assert [(one.kind, one.turn) for one in shown_late.marks] == [
        (one.kind, one.turn) for one in shown_fresh.marks
    ]
    for one, other in zip(shown_late.marks, shown_fresh.marks, strict=True):
        assert (one.start, one.end) == pytest.approx((other.start, other.end), abs=1e-6)


def test_marks_and_labels_lie_on_the_sound(recording: Path, tmp_path: Path) -> None:
    _, shown = keep(recording, tmp_path / "late", LONG_AGO)
    kept, rate = soundfile.read(tmp_path / "late" / CONVERSATION, dtype="int16")
    spoken = np.flatnonzero(kept[:, 0]) / rate
    (label,) = shown.labels
    assert (label.start, label.end) == pytest.approx((spoken[0], spoken[-1]), abs=0.005)
    audible = find_audible(kept[:, 1])
    assert audible is not None
    (reply,) = (one for one in shown.marks if one.kind == "reply")
    assert reply.start == pytest.approx(audible / rate, abs=0.001)
    (turn,) = (one for one in shown.marks if one.kind == "turn")
    assert turn.start == pytest.approx(LEAD, abs=0.05)
    page = str(div[shown.compose_turns()])
    assert f'data-at="{turn.start - 0.5:.2f}"' in page  # where its button plays from


def test_sessions_of_before_are_read_as_they_were_kept(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their timelines do not say when the recording begins: it began at time 0."""
    folder = tmp_path / "kept"
    new, shown_new = keep(recording, folder, 5.0)
    start = find_kept_start(load(folder / TIMELINE).timeline)
    assert start >= 5.0
    sound, rate = soundfile.read(folder / CONVERSATION, dtype="int16")
    padded = np.concatenate([np.zeros((round(start * rate), 2), np.int16), sound])
    soundfile.write(folder / CONVERSATION, padded, rate)
    lines = (folder / TIMELINE).read_text().splitlines(keepends=True)
    left = [line for line in lines if RecorderStarted.__name__ not in line]
    assert len(left) == len(lines) - 1
    (folder / TIMELINE).write_text("".join(left))
    timeline = load(folder / TIMELINE).timeline
    old = measure_session(timeline, profile(), folder, LABELS)
    assert list(old.turns) == list(new.turns)
    marks = read_conversation(timeline, old, folder, LABELS).marks
    assert marks == [
        replace(one, start=pytest.approx(one.start + start), end=pytest.approx(one.end + start))
        for one in shown_new.marks
    ]
    assert run(["report", str(folder), "--html", str(tmp_path / "page.html")]) == 0
    assert "not reliable" not in capsys.readouterr().out


def test_a_fault_is_told_where_it_is_to_be_heard() -> None:
    """On a page in the session's recording; in a summary in the recording that was played."""
    late = ScoredEvent(
        subject="tic", outcome="answered", start=LONG_AGO + 11.5, end=LONG_AGO + 12, position=3.6
    )
    found = Interaction(events=(late,), labelled=True, start=LONG_AGO)
    assert "at 11.50 s: answered a cough" in str(div[compose_faults(found)])
    assert "at 3.60 s: answered a cough" in list_faults(found)[0]
