"""Trouble while a conversation is recorded: a second session, a full disk, a lost folder."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.wild import Case
from tests.wild.recordings import replay, speech, write
from voicecli.audio.recorder import CONVERSATION, REPLY, Recorder
from voicecli.environment.files import write_text_file
from voicecli.errors import UsageError
from voicecli.timeline import TIMELINE
from voicecli.units import AudioBlock

KIND = "trouble while recording"
RATE = 8_000


class FullDisk:
    """Refuses to write, as a disk of which nothing is left."""

    def writeframes(self, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        pass


def recorder_to(folder: Path) -> Recorder:
    def agent(start: float, count: int) -> np.ndarray:
        return np.full(count, 500, np.int16)

    return Recorder(folder, RATE, agent=agent, user_rate=RATE)


def record(recorder: Recorder, *, since: float = 0.0) -> None:
    recorder.add_user(AudioBlock(np.full(RATE, 7, np.int16).tobytes(), since))


def record_twice_at_once(folder: Path) -> str:
    with recorder_to(folder) as first:
        record(first)
        try:
            with recorder_to(folder):
                return "both record"
        except UsageError as error:
            record(first, since=1.0)
            return str(error)


def record_one_after_the_other(folder: Path) -> str:
    for _ in range(2):
        with recorder_to(folder) as recorder:
            record(recorder)
            record(recorder, since=1.0)
    return "both record"


def fill_the_disk(folder: Path) -> str:
    try:
        with recorder_to(folder) as recorder:
            record(recorder)
            record(recorder, since=1.0)
            whole, recorder._conversation = recorder._conversation, FullDisk()  # type: ignore[assignment]
            record(recorder, since=2.0)
            assert recorder.failure is not None
            whole.close()
    except UsageError as error:
        return str(error)
    return "no error"


def kill_the_session(folder: Path) -> str:
    """Put back what was on the disk before the recorder was closed, as SIGKILL would leave it."""
    with recorder_to(folder) as recorder:
        record(recorder)
        record(recorder, since=1.0)
        left = {file: file.read_bytes() for file in (folder / CONVERSATION, folder / REPLY)}
    for file, content in left.items():
        file.write_bytes(content)
    return "whole to its last block"


@dataclass(frozen=True)
class RecordingCase(Case):
    """attempt: what happens while a recording of two seconds is made; returns the message."""

    attempt: object


RECORDED = [
    RecordingCase(
        KIND,
        "two sessions record into a folder at once",
        "both record; the files are mixed",
        "another session is recording into FOLDER. Name another --out.",
        record_twice_at_once,
    ),
    RecordingCase(
        KIND,
        "one after the other",
        "both record",
        "both record",
        record_one_after_the_other,
    ),
    RecordingCase(
        KIND,
        "the disk is full",
        "FOLDER cannot be recorded to: No space left on device. Name a folder …",
        "FOLDER/conversation.wav cannot be recorded to: No space left on device (an hour takes up "
        "to 173 MB). Name a folder that you may write to, on a disk with free space.",
        fill_the_disk,
    ),
    RecordingCase(
        KIND,
        "the session is killed",
        "whole to its last block",
        "whole to its last block",
        kill_the_session,
    ),
]


CASES = [
    *RECORDED,
    Case(KIND, "no room at the start", "empty files are left", "no file is left"),
    Case(KIND, "no room for the result", "the earlier one is emptied", "the earlier one is kept"),
    Case(KIND, "unplugged and plugged in again", "silence between", "silence between"),
    Case(KIND, "unplugged for good", "whole to its end", "whole to its end"),  # test_talk_devices
]


@contextmanager
def room_for(count: int) -> Iterator[None]:
    """Let no file grow beyond ``count`` bytes, as on a disk that is nearly full."""
    earlier = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, earlier[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, earlier)


@pytest.mark.parametrize(
    ("room", "file"), [(0, "kept"), (43, "kept"), (44, TIMELINE), (900, TIMELINE)]
)
def test_a_start_that_finds_no_room_leaves_no_file(
    room: int, file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.wav", speech())
    with room_for(room):
        code, notices = replay(path, capsys, ["--out", str(tmp_path / "kept")])
    assert code == 2
    assert len(notices) == 1
    assert f"{file} co" in notices[0].replace("cannot", "could not")
    assert "File too large" in notices[0]
    assert list((tmp_path / "kept").iterdir()) == []


def test_what_was_recorded_before_the_disk_filled_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.wav", speech())
    with room_for(50_000):
        code, notices = replay(path, capsys, ["--out", str(tmp_path / "kept")])
    assert code == 2
    assert "conversation goes on without a recording" in notices[0]
    assert sorted(one.name for one in (tmp_path / "kept").iterdir()) == sorted(
        [CONVERSATION, REPLY, TIMELINE]
    )
    assert 40_000 < 4 * soundfile.info(tmp_path / "kept" / CONVERSATION).frames <= 50_000


def test_a_result_without_room_leaves_the_earlier_one(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    write_text_file(file, "{}")
    with room_for(100), pytest.raises(OSError, match=f"File too large: '{file}'"):
        write_text_file(file, "x" * 1000)
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("result.json", "{}")]


def test_an_input_that_is_unplugged_and_comes_back_is_silence_between(tmp_path: Path) -> None:
    with recorder_to(tmp_path) as recorder:
        record(recorder)
        record(recorder, since=3.0)
    both, _ = soundfile.read(tmp_path / CONVERSATION, dtype="int16")
    seconds = both[:, 0].reshape(4, RATE)
    assert [set(one) for one in seconds.tolist()] == [{7}, {0}, {0}, {7}]
    assert set(both[:, 1].tolist()) == {500}


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: case.name)
def test_what_was_recorded_is_kept_and_the_reason_is_said(
    tmp_path: Path, case: RecordingCase
) -> None:
    assert callable(case.attempt)
    assert case.attempt(tmp_path).replace(str(tmp_path), "FOLDER") == case.after
    both, _ = soundfile.read(tmp_path / CONVERSATION, dtype="int16")
    assert both.tolist() == [[7, 500]] * (2 * RATE)
    assert soundfile.info(tmp_path / REPLY).frames >= 2 * RATE - 1
