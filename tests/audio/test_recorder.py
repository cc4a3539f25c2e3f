"""The recording of a conversation: every sample where it sounded, and whole at any moment."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from voicecli.audio.recorder import CONVERSATION, DRIFT, LONGEST, LONGEST_PAUSE, REPLY, Recorder
from voicecli.errors import UsageError
from voicecli.units import AudioBlock

Sound = NDArray[np.int16]


class Agent:
    """A loudspeaker that played ``sound`` from ``at`` on, and silence after it.

    It is asked in order, without a gap.
    """

    def __init__(self, sound: Sound, rate: int, at: float = 0.0) -> None:
        self._sound = sound
        self._rate = rate
        self._at = at
        self._asked = 0

    def __call__(self, start: float, count: int) -> Sound:
        assert round((start - self._at) * self._rate) == self._asked
        self._asked += count
        part = self._sound[self._asked - count : self._asked]
        return np.pad(part, (0, count - len(part)))


def chirp(rate: int, at: float, duration: float = 1.0) -> Sound:
    """Silence until ``at``, then a sweep from 200 to 3000 Hz."""
    time = np.arange(round(duration * rate)) / rate
    sweep = np.sin(2 * np.pi * (200 * time + 1400 / duration * time**2))
    sound = 15_000 * np.sin(np.pi * time / duration) ** 2 * sweep
    return np.concatenate([np.zeros(round(at * rate)), sound]).astype(np.int16)


def blocks(sound: Sound, rate: int, *, at: float = 0.0, block: float = 0.02) -> list[AudioBlock]:
    size = round(block * rate)
    return [
        AudioBlock(sound[start : start + size].tobytes(), at + start / rate)
        for start in range(0, len(sound), size)
    ]


def recorded(folder: Path) -> tuple[Sound, Sound]:
    """User and agent."""
    samples, _ = soundfile.read(folder / CONVERSATION, dtype="int16", always_2d=True)
    return samples[:, 0], samples[:, 1]


def lag(out: Sound, wanted: Sound) -> float:
    """By how many samples ``out`` is behind ``wanted``, to an eighth of one."""
    size = 2 * max(len(out), len(wanted))
    spectrum = np.fft.rfft(out, size) * np.conj(np.fft.rfft(wanted, size))
    correlation = np.fft.irfft(spectrum, size * 8)
    peak = int(correlation.argmax())
    return (peak if peak < size * 4 else peak - size * 8) / 8


def silence(count: int) -> Sound:
    return np.zeros(count, np.int16)


# ── where things are ─────────────────────────────────────────────────────────


@pytest.mark.parametrize("rate", [24_000, 48_000])
@pytest.mark.parametrize("user_rate", [8_000, 16_000, 48_000])
@pytest.mark.parametrize("block", [0.01, 0.02, 0.25])
def test_user_and_agent_are_in_line(
    tmp_path: Path, user_rate: int, rate: int, block: float
) -> None:
    user = np.concatenate([chirp(user_rate, 0.3), silence(user_rate), chirp(user_rate, 0.0)])
    agent = chirp(rate, 1.4)
    with Recorder(tmp_path, rate, agent=Agent(agent, rate), user_rate=user_rate) as recorder:
        for one in blocks(user, user_rate, block=block):
            recorder.add_user(one)
    left, right = recorded(tmp_path)
    assert abs(len(left) - round(3.3 * rate)) <= 1
    assert (right[: len(agent)] == agent).all()
    assert not right[len(agent) :].any()
    wanted = np.concatenate([chirp(rate, 0.3), silence(rate), chirp(rate, 0.0)])
    assert abs(lag(left, wanted)) <= 0.25
    level = np.sqrt(np.mean(np.square(left.astype(float))) / np.mean(wanted.astype(float) ** 2))
    assert level == pytest.approx(1, abs=0.01)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(2, 3000)), min_size=1, max_size=6),
    st.floats(-10, 90_000),
)
def test_gaps_between_blocks_are_silence(
    tmp_path_factory: pytest.TempPathFactory, runs: list[tuple[int, int]], start: float
) -> None:
    """So many blocks, then milliseconds without one; whenever the session begins."""
    folder, rate = tmp_path_factory.mktemp("out"), 16_000
    agent, wanted = np.arange(rate, dtype=np.int16), silence(0)
    played = Agent(agent, rate, start)
    with Recorder(folder, rate, agent=played, user_rate=rate) as recorder:
        assert recorder.start is None
        for count, gap in runs:
            sound = np.full(count * 320, 1000, np.int16)
            for one in blocks(sound, rate, at=start + len(wanted) / rate):
                recorder.add_user(one)
            wanted = np.concatenate([wanted, sound, silence(gap * 16)])
        assert recorder.start == start
    left, right = recorded(folder)
    assert left.tolist() == wanted[: -gap * 16].tolist()
    common = min(len(agent), len(right))
    assert (right[:common] == agent[:common]).all()
    assert not right[common:].any()


@pytest.mark.parametrize("ppm", [-200, -50, 50, 200])
def test_a_microphone_whose_clock_runs_off_stays_in_line(tmp_path: Path, ppm: int) -> None:
    """Blocks of a tenth of a second that last a little more or less, for ten minutes."""
    rate, count = 8_000, 6000
    sound = np.zeros(count * 800, np.int16)
    sound[400::80_000] = 9000  # a click every ten seconds
    agent = Agent(silence(0), rate)
    with Recorder(tmp_path, rate, agent=agent, user_rate=rate) as recorder:
        for i in range(count):
            at = i * 0.1 * (1 + ppm * 1e-6)
            recorder.add_user(AudioBlock(sound[i * 800 : (i + 1) * 800].tobytes(), at))
    left, _ = recorded(tmp_path)
    clicks = np.flatnonzero(left) / rate
    wanted = (0.05 + 10 * np.arange(60)) * (1 + ppm * 1e-6)
    assert len(clicks) == 60
    assert np.abs(clicks - wanted).max() <= DRIFT + 1.5 / rate


def test_stamps_that_tremble_cut_nothing(tmp_path: Path) -> None:
    rate = 8_000
    sound = np.random.default_rng(1).integers(-9000, 9000, 100 * 160).astype(np.int16)
    tremble = np.random.default_rng(2).uniform(-0.9 * DRIFT, 0.9 * DRIFT, 100)
    tremble[0] = 0
    with Recorder(tmp_path, rate, agent=Agent(silence(0), rate), user_rate=rate) as recorder:
        for one, by in zip(blocks(sound, rate), tremble, strict=True):
            recorder.add_user(AudioBlock(one.pcm, one.at + by))
    assert (recorded(tmp_path)[0] == sound).all()


def test_blocks_that_overlap_are_not_late_for_ever(tmp_path: Path) -> None:
    rate, click = 8_000, np.array([7000] + [0] * 159, np.int16).tobytes()
    ats = [0.0, 0.02, 0.035, 0.055, 0.075, 0.2]  # the third is 5 ms early
    with Recorder(tmp_path, rate, agent=Agent(silence(0), rate), user_rate=rate) as recorder:
        for at in ats:
            recorder.add_user(AudioBlock(click, at))
    clicks = np.flatnonzero(recorded(tmp_path)[0]) / rate
    assert clicks.tolist() == [0.0, 0.02, 0.055, 0.075, 0.2]


# ── reply.wav ────────────────────────────────────────────────────────────────


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 2500), st.integers(1, 1200)), max_size=6), st.integers(0, 900)
)
def test_reply_is_what_the_agent_said_with_short_gaps(
    tmp_path_factory: pytest.TempPathFactory, replies: list[tuple[int, int]], rest: int
) -> None:
    """Milliseconds of silence, then of speech; LONGEST_PAUSE of the silence is kept, in between."""
    folder, rate = tmp_path_factory.mktemp("out"), 8_000
    agent, wanted = silence(0), silence(0)
    for gap, speech in replies:
        said = np.arange(1, speech * 8 + 1).astype(np.int16)
        kept = min(gap, round(LONGEST_PAUSE * 1000)) if len(wanted) else 0
        agent = np.concatenate([agent, silence(gap * 8), said])
        wanted = np.concatenate([wanted, silence(kept * 8), said])
    agent = np.concatenate([agent, silence(rest * 8)])
    with Recorder(folder, rate, agent=Agent(agent, rate), user_rate=rate) as recorder:
        for one in blocks(silence(len(agent)), rate):
            recorder.add_user(one)
    if len(agent):
        reply, found = soundfile.read(folder / REPLY, dtype="int16")
        assert found == rate
        assert reply.tolist() == wanted.tolist()
        assert (recorded(folder)[1] == agent).all()


# ── files ────────────────────────────────────────────────────────────────────


def recorder_to(folder: Path, rate: int = 8_000) -> Recorder:
    agent = Agent(np.full(10 * rate, 500, np.int16), rate)
    return Recorder(folder, rate, agent=agent, user_rate=rate)


def record(folder: Path, duration: float, failure: Exception | None = None) -> None:
    """So many seconds of silence, and then it fails."""
    with recorder_to(folder) as recorder:
        for one in blocks(silence(round(8_000 * duration)), 8_000):
            recorder.add_user(one)
        if failure is not None:
            raise failure


def test_the_files_are_plain_16_bit_wave(tmp_path: Path) -> None:
    record(tmp_path / "a" / "b", 1)  # folders are made
    for name, channels in ((CONVERSATION, 2), (REPLY, 1)):
        info = soundfile.info(tmp_path / "a" / "b" / name)
        assert (info.samplerate, info.channels, info.frames) == (8_000, channels, 8_000)
        assert (info.format, info.subtype) == ("WAV", "PCM_16")


def test_the_files_are_valid_before_any_sound(tmp_path: Path) -> None:
    with recorder_to(tmp_path):
        for name, channels in ((CONVERSATION, 2), (REPLY, 1)):
            info = soundfile.info(tmp_path / name)
            assert (info.frames, info.channels, info.samplerate) == (0, channels, 8_000)


def test_a_full_disk_at_the_start_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / REPLY).symlink_to("/dev/full")
    with pytest.raises(UsageError, match=r"an hour takes up to 173 MB"), recorder_to(tmp_path):
        pass


def test_an_earlier_recording_is_replaced(tmp_path: Path) -> None:
    for name in (CONVERSATION, REPLY):
        (tmp_path / name).write_bytes(b"of yesterday")
    with recorder_to(tmp_path) as recorder:
        recorder.add_user(AudioBlock(bytes(16_000), 0.0))
    for name in (CONVERSATION, REPLY):
        assert soundfile.info(tmp_path / name).frames == 8_000


def test_a_conversation_that_never_began_leaves_no_recording(tmp_path: Path) -> None:
    """So the command can be repeated as it is, once a key is there."""
    for _ in range(2):
        with pytest.raises(KeyError):
            record(tmp_path, 0, KeyError())
    assert not list(tmp_path.iterdir())


def test_what_was_recorded_before_a_failure_is_kept(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        record(tmp_path, 0.02, KeyError())
    assert len(recorded(tmp_path)[0]) == 160


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    file = tmp_path / "out"
    file.touch()
    for path in (file, file / "inside"):
        with pytest.raises(UsageError, match="cannot be recorded to") as caught:
            recorder_to(path).__enter__()
        assert str(path) in caught.value.cause
        assert caught.value.hint


@contextmanager
def unprivileged() -> Iterator[None]:
    """Root may write anywhere: be somebody else for a while."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65_534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_folder_that_may_not_be_written_to(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with unprivileged(), pytest.raises(UsageError, match="Permission denied"):
        recorder_to(tmp_path).__enter__()
    with unprivileged(), pytest.raises(UsageError, match="Permission denied"):
        recorder_to(tmp_path / "deeper").__enter__()
    tmp_path.chmod(0o700)
    assert not list(tmp_path.iterdir())


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """As if the disk were full: the system refuses to let a file grow."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_is_told_at_the_end_and_ends_no_conversation(tmp_path: Path) -> None:
    with no_file_beyond(100_000), pytest.raises(UsageError, match="File too large"):
        record(tmp_path, 10)
    left, right = recorded(tmp_path)
    assert 0 < len(left) <= 25_000
    assert set(right.tolist()) == {500}


def test_a_recording_longer_than_a_wave_file_can_be_ends_no_conversation(tmp_path: Path) -> None:
    rate = 8000
    agent = Agent(np.full(4 * rate, 500, np.int16), rate)
    recorder = Recorder(tmp_path, rate, agent=agent, user_rate=rate, longest=2 * rate)
    recorder.__enter__()
    for block in blocks(np.full(4 * rate, 100, np.int16), rate):
        recorder.add_user(block)
    with pytest.raises(UsageError, match="File too large"):
        recorder.__exit__(None, None, None)
    left, right = recorded(tmp_path)
    assert left.tolist() == [100] * 2 * rate
    assert right.tolist() == [500] * 2 * rate


def test_the_longest_recording_is_what_a_wave_header_can_count() -> None:
    for count, fits in ((LONGEST, True), (LONGEST + 1, False)):
        riff = 36 + 4 * count
        assert (riff < 2**32) == fits


def test_a_full_disk_does_not_hide_what_else_went_wrong(tmp_path: Path) -> None:
    with no_file_beyond(1000), pytest.raises(KeyError):
        record(tmp_path, 10, KeyError())


RECORD = """
import sys, numpy as np
from pathlib import Path
from voicecli.units import AudioBlock
from voicecli.audio.recorder import Recorder
rate = 16_000
agent = lambda start, count: np.full(count, 700, np.int16)
with Recorder(Path(sys.argv[1]), rate, agent=agent, user_rate=rate) as recorder:
    for i in range(500):  # ten seconds
        recorder.add_user(AudioBlock(np.full(320, i, np.int16).tobytes(), i * 0.02))
    print("recorded", flush=True)
    sys.stdin.read()
"""


def test_a_killed_process_leaves_what_it_recorded(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RECORD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"recorded\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    left, right = recorded(tmp_path)
    assert len(left) == 160_000
    assert left.tolist() == np.repeat(np.arange(500), 320).tolist()
    assert set(right.tolist()) == {700}
    for name, channels in ((CONVERSATION, 2), (REPLY, 1)):
        with wave.open(str(tmp_path / name)) as file:  # and the header says so
            assert (file.getnframes(), file.getnchannels()) == (160_000, channels)
            assert len(file.readframes(10**6)) == 160_000 * 2 * channels
