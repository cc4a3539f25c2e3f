"""What is found in a recording before it is played, and that it is what is heard while it plays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support import SPEECH
from tests.support.conversations import profile
from tests.support.speech_like import alternate_speech
from voicecli import clock
from voicecli.audio.channels import Channel
from voicecli.audio.interfaces import AudioSettings
from voicecli.audio.look_ahead import KnownSpeech
from voicecli.audio.pcm import samples_of
from voicecli.errors import InputError
from voicecli.events import RecordedSpeechStarted, RecordedSpeechStopped
from voicecli.metrics.recording import Stretch
from voicecli.pipeline.recording import play_recording
from voicecli.pipeline.survey import LONGEST, Survey, survey_recording
from voicecli.pipeline.wiring import open_services
from voicecli.profile import Profile
from voicecli.report.measurement import Measurement, measure_session
from voicecli.timeline import Timeline

RATE = 16_000
AUDIO = AudioSettings(sample_rate=RATE, vad="energy")


def survey(file: Path, channel: Channel = "auto", labelled: tuple[Stretch, ...] = ()) -> Survey:
    return clock.run(survey_recording(file, channel, AUDIO, labelled), virtual=True)


def spoken(file: Path, *durations: float) -> Path:
    pcm, _ = alternate_speech(*durations)
    soundfile.write(file, samples_of(pcm), RATE)
    return file


def positions(found: Survey) -> list[float]:
    return [at for one in found.speech or () for at in one[:2] if at is not None]


# ── what is heard while it plays ─────────────────────────────────────────────


def play(
    file: Path, folder: Path, settings: Profile, *, survey: bool
) -> tuple[Measurement, list[tuple[type, float]]]:
    """What is measured, and the speech that was found."""
    timeline = Timeline()

    async def main() -> None:
        async with open_services(settings) as services:
            await play_recording(
                file, "auto", settings, services, folder, timeline, polite=False, survey=survey
            )

    clock.run(main(), virtual=True)
    kinds = RecordedSpeechStarted | RecordedSpeechStopped
    found = [(type(one), one.position) for one in timeline if isinstance(one, kinds)]
    return measure_session(timeline, settings, folder), found


@pytest.mark.parametrize(
    ("scene", "overrides"),
    [
        ("pauses-recorded", ()),
        ("hesitation", ("audio.vad=energy",)),
        ("noise-5db", ("audio.gain_db=auto", "audio.hangover_ms=500")),
    ],
)
def test_a_survey_finds_what_is_heard_while_it_plays(
    tmp_path: Path, scene: str, overrides: tuple[str, ...]
) -> None:
    settings = profile(*overrides, name="scripted")
    file = SPEECH / "scenes" / f"{scene}.flac"
    heard, found_playing = play(file, tmp_path / "a", settings, survey=False)
    surveyed, found_before = play(file, tmp_path / "b", settings, survey=True)
    assert len(found_before) >= 2
    assert found_before == [(kind, pytest.approx(at, abs=1e-9)) for kind, at in found_playing]
    assert [turn.mouth_to_ear for turn in surveyed.turns] == [
        turn.mouth_to_ear for turn in heard.turns
    ]
    assert surveyed.interaction == heard.interaction


# ── what is kept ─────────────────────────────────────────────────────────────


def test_a_recording_is_surveyed_once(tmp_path: Path) -> None:
    file = spoken(tmp_path / "a.wav", 0.5, 1.0, 0.5)
    first = survey(file)
    assert positions(first) == pytest.approx([0.5, 1.5], abs=0.002)
    assert survey(file) is first


def test_another_recording_of_that_name_is_another_one(tmp_path: Path) -> None:
    survey(spoken(tmp_path / "a.wav", 0.5, 1.0, 0.5))
    other = survey(spoken(tmp_path / "a.wav", 1.0, 0.7, 0.5))
    assert positions(other) == pytest.approx([1.0, 1.7], abs=0.002)


def test_each_channel_has_its_own(tmp_path: Path) -> None:
    sides = [samples_of(alternate_speech(0.5 + at, 1.0, 2.5 - at)[0]) for at in (0.0, 2.0)]
    soundfile.write(tmp_path / "a.wav", np.stack(sides, axis=1), RATE)
    for channel, start in ((0, 0.5), (1, 2.5)):
        found = survey(tmp_path / "a.wav", channel)
        assert positions(found) == pytest.approx([start, start + 1.0], abs=0.002)


def test_labels_are_known_better(tmp_path: Path) -> None:
    file = spoken(tmp_path / "a.wav", 0.5, 1.0, 0.5)
    labelled = (Stretch(0.4, 1.6, new_turn=True),)
    assert survey(file, labelled=labelled).speech == labelled
    assert positions(survey(file)) == pytest.approx([0.5, 1.5], abs=0.002)


def test_a_long_recording_is_heard_while_it_plays(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(round(LONGEST * 8000) + 1, np.int16), 8000)
    found = survey(tmp_path / "a.wav")
    assert found.speech is None
    assert not isinstance(found.create_finder(AUDIO), KnownSpeech)


def test_what_is_no_recording_is_refused_each_time(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("no sound")
    for _ in range(2):
        with pytest.raises(InputError, match="cannot be read as a recording"):
            survey(tmp_path / "a.wav")
