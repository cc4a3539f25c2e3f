"""Mouth-to-ear measured again from the recording: true stamps pass, wrong ones are found out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support.speech_like import voice
from voicecli.audio.pcm import samples_of
from voicecli.audio.playout import FADE
from voicecli.audio.recorder import TOLERANCE, check_recording
from voicecli.metrics.turns import Turn

RATE = 24_000

Spoken = tuple[float, float]
"""When somebody began to speak, and for how long."""


def channel(spoken: Sequence[Spoken], length: float, fade: float = 0.0) -> NDArray[np.int16]:
    out = np.zeros(round(length * RATE), np.int16)
    for at, duration in spoken:
        sound = samples_of(voice(duration, RATE)).astype(float)
        if fade:
            sound[-round(fade * RATE) :] *= np.linspace(1, 0, round(fade * RATE))
        out[round(at * RATE) :][: len(sound)] = sound
    return out


def recording(
    path: Path, user: Sequence[Spoken], agent: Sequence[Spoken], fade: float = 0.0
) -> Path:
    length = max(at + duration for at, duration in (*user, *agent)) + 0.5
    stereo = np.stack([channel(user, length), channel(agent, length, fade)], 1)
    soundfile.write(path, stereo, RATE)
    return path


def turn(number: int, *, speech_end: float, commit: float, heard_at: float) -> Turn:
    return Turn(
        turn=number,
        at=commit,
        user_text="?",
        reason="speech_final",
        outcome="answered",
        heard_at=heard_at,
        mouth_to_ear=heard_at - speech_end,
    )


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[Spoken], list[Spoken], list[Turn]]:
    """What user and agent said, and turns with true stamps."""
    user, agent, turns = [], [], []
    now = 0.0
    for number in range(1, draw(st.integers(1, 3)) + 1):
        start = now + draw(st.floats(0.6, 1.5))
        said = draw(st.floats(0.4, 1.5))
        wait = draw(st.floats(0.25, 1.2))
        reply = draw(st.floats(0.3, 1.5))
        user.append((start, said))
        agent.append((start + said + wait, reply))
        commit = start + said + draw(st.floats(0.21, 0.5)) * wait
        turns.append(
            turn(number, speech_end=start + said, commit=commit, heard_at=start + said + wait)
        )
        now = start + said + wait + reply
    return user, agent, turns


@settings(deadline=None, max_examples=30)
@given(conversations(), st.floats(0, 90_000))
def test_true_stamps_agree(
    tmp_path_factory: pytest.TempPathFactory,
    said: tuple[list[Spoken], list[Spoken], list[Turn]],
    start: float,
) -> None:
    """Also where the session's clock had run for a while when the recording began."""
    user, agent, turns = said
    path = recording(tmp_path_factory.mktemp("out") / "c.wav", user, agent)
    assert check_recording(turns, path) == turns
    later = []
    for one in turns:
        assert one.heard_at is not None
        later.append(replace(one, at=start + one.at, heard_at=start + one.heard_at))
    assert check_recording(later, path, start) == later


@settings(deadline=None, max_examples=30)
@given(conversations(), st.sampled_from([-0.1, -0.030, 0.030, 0.1]), st.booleans())
def test_stamps_that_are_30_ms_off_are_found_out(
    tmp_path_factory: pytest.TempPathFactory,
    said: tuple[list[Spoken], list[Spoken], list[Turn]],
    off: float,
    of_the_agent: bool,
) -> None:
    """When the user stopped, or when the reply sounded; turn by turn, and the number is told."""
    user, agent, turns = said
    path = recording(tmp_path_factory.mktemp("out") / "c.wav", user, agent)
    wrong = []
    for one in turns:
        assert one.mouth_to_ear is not None
        assert one.heard_at is not None
        heard_at = one.heard_at + off if of_the_agent else one.heard_at
        wrong.append(replace(one, heard_at=heard_at, mouth_to_ear=one.mouth_to_ear + off))
    for one, found in zip(turns, check_recording(wrong, path), strict=True):
        assert one.mouth_to_ear is not None
        assert len(found.unreliable) == 1
        _, _, _, told, unit = found.unreliable[0].split()
        assert unit == "ms"
        assert float(told) == pytest.approx(one.mouth_to_ear * 1000, abs=3)


@pytest.mark.parametrize(("off", "agrees"), [(0.015, True), (-0.015, True), (0.025, False)])
def test_where_the_tolerance_lies(tmp_path: Path, off: float, agrees: bool) -> None:
    path = recording(tmp_path / "c.wav", [(0.5, 1.0)], [(2.0, 1.0)])
    shifted = turn(1, speech_end=1.5 - off, commit=1.8, heard_at=2.0)
    assert TOLERANCE == 0.020
    assert (check_recording([shifted], path) == [shifted]) is agrees


def test_a_reply_that_was_cut_just_before_is_not_taken_for_the_next(tmp_path: Path) -> None:
    """The user says "no!" and is answered within half a second of the first reply's last sound."""
    first = turn(1, speech_end=1.5, commit=1.8, heard_at=2.0)
    second = turn(2, speech_end=3.6, commit=3.7, heard_at=3.95)
    path = recording(
        tmp_path / "c.wav",
        [(0.5, 1.0), (3.2, 0.4)],
        [(2.0, 1.7 + FADE), (3.95, 1.0)],
        fade=FADE,
    )
    assert check_recording([first, second], path) == [first, second]


def test_a_recording_that_shows_nothing_of_it(tmp_path: Path) -> None:
    there = turn(1, speech_end=1.5, commit=1.8, heard_at=2.0)
    unheard = recording(tmp_path / "a.wav", [(0.5, 1.0)], [(5.0, 1.0)])
    unsaid = recording(tmp_path / "b.wav", [(3.0, 1.0)], [(2.0, 0.5)])
    short = recording(tmp_path / "c.wav", [(0.5, 0.3)], [(0.1, 0.2)])
    for path in (unheard, unsaid, short):
        doubts = check_recording([there], path)[0].unreliable
        assert doubts == ("the recording does not show it",)


def test_turns_without_a_measurement_are_left_alone(tmp_path: Path) -> None:
    """And where there is none at all, the recording is not looked for."""
    typed = replace(turn(1, speech_end=1.5, commit=1.8, heard_at=2.0), mouth_to_ear=None)
    assert check_recording([typed], tmp_path / "missing.wav") == [typed]
    spoken = turn(2, speech_end=1.5, commit=1.8, heard_at=2.0)
    path = recording(tmp_path / "c.wav", [(0.5, 1.0)], [(2.0, 1.0)])
    assert check_recording([typed, spoken], path) == [typed, spoken]


def test_earlier_doubts_are_kept(tmp_path: Path) -> None:
    path = recording(tmp_path / "c.wav", [(0.5, 1.0)], [(2.0, 1.0)])
    one = replace(turn(1, speech_end=1.4, commit=1.8, heard_at=2.0), unreliable=("xruns",))
    assert check_recording([one], path)[0].unreliable == ("xruns", "the recording says 500 ms")
