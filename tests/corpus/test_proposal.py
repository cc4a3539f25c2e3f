"""Proposed labels: how voice becomes turns and pauses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.speech_like import alternate_speech
from voicecli import clock
from voicecli.audio.pcm import samples_of
from voicecli.corpus.proposal import (
    find_voice,
    propose_labels,
    read_duration,
    read_sound,
    transcribe,
)
from voicecli.profile import load_profile


def test_a_long_silence_ends_a_turn_and_a_short_one_is_a_pause():
    labels = propose_labels([(0.1, 1.0), (1.4, 2.0), (3.5, 4.0)], turn_gap=1.5)
    assert [(span.kind, span.start, span.end) for span in labels.spans] == [
        ("turn", 0.1, 2.0),
        ("pause", 1.0, 1.4),
        ("turn", 3.5, 4.0),
    ]
    assert propose_labels([]).spans == ()


def test_voice_is_found_where_it_is(tmp_path: Path):
    pcm, _ = alternate_speech(0.4, 1.0, 0.5, 0.8, 0.3, rate=16_000)
    soundfile.write(tmp_path / "x.wav", samples_of(pcm).astype(np.int16), 16_000)
    found = find_voice(read_sound(tmp_path / "x.wav"))
    assert np.ravel(found) == pytest.approx([0.4, 1.4, 1.9, 2.7], abs=0.03)
    assert read_duration(tmp_path / "x.wav") == pytest.approx(3.0, abs=1e-3)


def test_each_turn_has_the_text_that_the_stt_hears_in_it(tmp_path: Path):
    script = tmp_path / "two.yaml"
    script.write_text("stt:\n  hears: [One., Two three.]\n")
    profile = load_profile("scripted", overrides=[f"standin.script={script}"])
    pcm, _ = alternate_speech(0.4, 1.0, 2.0, 0.8, 0.5, rate=16_000)
    soundfile.write(tmp_path / "x.wav", samples_of(pcm).astype(np.int16), 16_000)
    sound = read_sound(tmp_path / "x.wav")
    labels = clock.run(transcribe(propose_labels(find_voice(sound)), sound, profile), virtual=True)
    assert [(span.kind, span.text) for span in labels.spans] == [
        ("turn", "One."),
        ("turn", "Two three."),
    ]
