"""Trouble while a conversation is recorded: a second session, a full disk, a lost folder."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.wild import Case
from voicecli.audio.recorder import CONVERSATION, REPLY, Recorder
from voicecli.errors import UsageError
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


CASES = [
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


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_was_recorded_is_kept_and_the_reason_is_said(
    tmp_path: Path, case: RecordingCase
) -> None:
    assert callable(case.attempt)
    assert case.attempt(tmp_path).replace(str(tmp_path), "FOLDER") == case.after
    both, _ = soundfile.read(tmp_path / CONVERSATION, dtype="int16")
    assert both.tolist() == [[7, 500]] * (2 * RATE)
    assert soundfile.info(tmp_path / REPLY).frames >= 2 * RATE - 1
