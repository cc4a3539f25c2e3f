"""A cassette of the embedded stack, replayed without any engine.  See ``session``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cassette.session import (
    FOLDER,
    RATE,
    TOLERANCE,
    compare_turns,
    find_turns,
    replay,
    write_profile,
    write_spoken,
)
from tests.support.cassettes import play
from voicecli.audio.wav import open_wav
from voicecli.profile import restore_profile
from voicecli.timeline import TIMELINE, load

TIMES = 20


@pytest.fixture
def spoken(tmp_path: Path) -> Path:
    return write_spoken(tmp_path / "spoken.wav")


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VOICECLI_MODELS", str(tmp_path / "none"))
    return write_profile(FOLDER / TIMELINE, tmp_path / "recorded.yaml")


def test_it_replays_turn_for_turn_as_often_as_wanted(spoken: Path) -> None:
    recorded = find_turns(FOLDER / TIMELINE)
    settings = restore_profile(load(FOLDER / TIMELINE).header.profile, "recorded")
    assert len(recorded) == 2
    found = []
    for _ in range(TIMES):
        with open_wav(spoken, RATE, settings.audio.block) as source:
            session = play(settings, source, FOLDER)
        turns = [turn for turn in session.turns if turn.outcome != "discarded"]
        assert session.error is None
        assert max(map(abs, compare_turns(recorded, turns))) <= TOLERANCE
        found.append([turn.mouth_to_ear for turn in turns])
    assert found == [found[0]] * TIMES


@pytest.mark.realtime
def test_in_real_time_it_is_the_same(tmp_path: Path, spoken: Path, profile: Path) -> None:
    assert replay(spoken, profile, tmp_path / "out", "--services", FOLDER) == 0
    differences = compare_turns(
        find_turns(FOLDER / TIMELINE), find_turns(tmp_path / "out" / TIMELINE)
    )
    assert max(map(abs, differences)) <= TOLERANCE


def test_another_recording_is_told(
    tmp_path: Path, spoken: Path, profile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = spoken.parents[0] / "other.wav"
    other.write_bytes(spoken.read_bytes()[: 44 + 2 * 16_000 * 4])
    assert replay(other, profile, tmp_path / "out", "--services", FOLDER, "--fast") == 1
    assert "stt-1.jsonl:" in capsys.readouterr().err
