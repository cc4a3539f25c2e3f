"""A recording as a microphone, to the sample; and a loudspeaker that is not there, to the tick."""

from __future__ import annotations

import asyncio
import os
import tracemalloc
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support import SPEECH
from voicecli import clock
from voicecli.audio.pcm import samples_of
from voicecli.audio.wav import WavSource, open_wav
from voicecli.errors import InputError
from voicecli.units import AudioBlock

RATE = 16_000
BLOCK = 0.02

Sound = NDArray[np.int16]


def noise(count: int, seed: int = 1) -> Sound:
    return np.random.default_rng(seed).integers(-20_000, 20_000, count).astype(np.int16)


def chirp(rate: int, duration: float = 2.0, loudness: float = 0.5) -> NDArray[np.float64]:
    """A sweep from 200 to 3000 Hz, which fits only where it is: at every rate the same sound."""
    time = np.arange(round(duration * rate)) / rate
    sweep = np.sin(2 * np.pi * (200 * time + 1400 / duration * time**2))
    return loudness * np.sin(np.pi * time / duration) ** 2 * sweep


def written(
    path: Path, samples: NDArray[np.generic], rate: int = RATE, subtype: str | None = None
) -> Path:
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def run(
    path: Path, rate: int = RATE, block: float = BLOCK, *, more: int = 0
) -> tuple[list[AudioBlock], WavSource]:
    """The blocks up to the last one and ``more`` after it, in virtual time."""

    async def main() -> list[AudioBlock]:
        blocks: list[AudioBlock] = []
        ending: list[AudioBlock] = []
        async with aclosing(source.blocks()) as stream:
            async for one in stream:
                assert clock.now() == pytest.approx(one.at + block, abs=1e-9)
                blocks.append(one)
                if one.last or ending:
                    ending.append(one)
                if len(ending) > more:
                    break
        return blocks

    with open_wav(path, rate, block) as source:
        return clock.run(main(), virtual=True), source


def sound_of(blocks: list[AudioBlock]) -> Sound:
    return samples_of(b"".join(block.pcm for block in blocks))


# ── the pace ─────────────────────────────────────────────────────────────────


@settings(deadline=None, max_examples=40)
@given(
    count=st.integers(1, 9000),
    rate=st.sampled_from([8_000, 16_000, 24_000, 48_000]),
    block_ms=st.sampled_from([10, 20, 30, 100, 250]),
)
def test_each_block_comes_when_its_last_sample_would_and_none_is_lost(
    tmp_path_factory: pytest.TempPathFactory, count: int, rate: int, block_ms: int
) -> None:
    """16 bits at the rate wanted are untouched; the last block is filled up with silence."""
    path = written(tmp_path_factory.mktemp("wav") / "a.wav", noise(count), rate)
    blocks, source = run(path, rate, block_ms / 1000, more=3)
    size = rate * block_ms // 1000
    assert {len(block.pcm) for block in blocks} == {2 * size}
    whole = -(-count // size)
    assert [block.last for block in blocks] == [*[False] * (whole - 1), True, *[False] * 3]
    out = sound_of(blocks)
    assert (out[:count] == noise(count)).all()
    assert not out[count:].any()
    assert [block.at for block in blocks] == [i * size / rate for i in range(len(blocks))]
    assert source.duration == count / rate
    assert source.warnings == []


def test_the_pace_does_not_drift_and_makes_up_for_a_busy_loop(tmp_path: Path) -> None:
    path = written(tmp_path / "a.wav", np.ones(RATE * 60, np.int16))

    async def main() -> list[float]:
        late = []
        await asyncio.sleep(0.0123)
        began = clock.now()
        async with aclosing(source.blocks()) as stream:
            async for block in stream:
                late.append(clock.now() - (block.at + BLOCK))
                assert block.at >= began
                if len(late) % 100 == 50:
                    await asyncio.sleep(0.05)  # somebody dawdles over two blocks
                if block.last:
                    assert block.at == pytest.approx(began + 59.98, abs=1e-9)
                    break
        return late

    with open_wav(path, RATE, BLOCK) as source:
        late = clock.run(main(), virtual=True)
    assert len(late) == 3000
    assert min(late) >= -1e-9
    for i, one in enumerate(late):
        expected = {51: 0.03, 52: 0.01}.get(i % 100 + 1, 0.0)
        assert one == pytest.approx(expected, abs=1e-9)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(1, 15), st.integers(1, 15)), max_size=8))
def test_a_paused_recording_waits_and_loses_no_sample(
    tmp_path_factory: pytest.TempPathFactory, pauses: list[tuple[int, int]]
) -> None:
    """Silence goes on meanwhile, at the same pace; the end waits, too."""
    path = written(tmp_path_factory.mktemp("wav") / "a.wav", noise(100 * 320))
    paused_at = {
        sum(a + b for a, b in pauses[:i]) + play: wait for i, (play, wait) in enumerate(pauses)
    }

    async def main() -> tuple[list[AudioBlock], list[AudioBlock]]:
        played, silent, wait, count = [], [], 0, 0
        async with aclosing(source.blocks()) as stream:
            async for block in stream:
                assert block.at == pytest.approx(count * BLOCK, abs=1e-9)
                assert clock.now() == pytest.approx(block.at + BLOCK, abs=1e-9)
                count += 1
                (silent if wait else played).append(block)
                wait = max(0, wait - 1)
                if block.last:
                    return played, silent
                wait = max(wait, paused_at.get(count, 0))
                (source.pause if wait else source.resume)()
        raise AssertionError("it ended without its end")

    with open_wav(path, RATE, BLOCK) as source:
        played, silent = clock.run(main(), virtual=True)
    assert (sound_of(played) == noise(100 * 320)).all()
    assert not sound_of(silent).any()
    assert len(silent) == sum(wait for at, wait in paused_at.items() if at < 100 + len(silent))


# ── formats ──────────────────────────────────────────────────────────────────


def lag(out: Sound, wanted: NDArray[np.float64]) -> float:
    """By how many samples ``out`` is behind ``wanted``, to a fraction of one."""
    size = 2 * max(len(out), len(wanted))
    spectrum = np.fft.rfft(out, size) * np.conj(np.fft.rfft(wanted, size))
    correlation = np.fft.irfft(spectrum, size * 8)  # between the samples, too
    peak = int(correlation.argmax())
    return (peak if peak < size * 4 else peak - size * 8) / 8


@pytest.mark.parametrize("target", [8_000, 16_000, 24_000, 48_000])
@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 44_100, 48_000, 96_000, 192_000])
def test_any_rate_is_resampled_in_place_and_as_loud(tmp_path: Path, rate: int, target: int) -> None:
    path = written(tmp_path / "a.wav", chirp(rate), rate)
    blocks, _ = run(path, target)
    out = sound_of(blocks)[: 2 * target]
    wanted = chirp(target) * 32768
    assert abs(lag(out, wanted)) <= 0.125
    assert len(blocks) == 100
    assert np.abs(out - wanted).max() < 32768 * 0.5 * 10 ** (-40 / 20)  # an error of -40 dB
    level = np.sqrt(np.mean(np.square(out.astype(float))) / np.mean(np.square(wanted)))
    assert level == pytest.approx(1, abs=0.005)


@pytest.mark.parametrize(
    ("name", "subtype", "error"),
    [
        ("a.wav", "PCM_U8", 1 / 100),
        ("a.wav", "PCM_16", 1e-4),
        ("a.wav", "PCM_24", 1e-4),
        ("a.wav", "PCM_32", 1e-4),
        ("a.wav", "FLOAT", 1e-4),
        ("a.wav", "DOUBLE", 1e-4),
        ("a.wav", "ULAW", 3 / 100),
        ("a.flac", "PCM_16", 1e-4),
        ("a.flac", "PCM_24", 1e-4),
        ("a.aiff", "PCM_16", 1e-4),
        ("a.ogg", "VORBIS", 5 / 100),
        ("a.ogg", "OPUS", 5 / 100),
        ("a.mp3", "MPEG_LAYER_III", 5 / 100),
        ("no-extension", "PCM_16", 1e-4),
    ],
)
def test_formats(tmp_path: Path, name: str, subtype: str, error: float) -> None:
    path = tmp_path / name
    format = "WAV" if "." not in name else None
    soundfile.write(path, chirp(RATE), RATE, subtype=subtype, format=format)
    blocks, source = run(path)
    out, wanted = sound_of(blocks).astype(float), chirp(RATE) * 32768
    size = min(len(out), len(wanted))
    assert abs(lag(out, wanted)) <= 1
    rms = np.sqrt(np.mean(np.square(out[:size] - wanted[:size])))
    assert rms <= error * 32768 * 0.5
    assert source.warnings == []


def test_channels_are_mixed_to_one(tmp_path: Path) -> None:
    channels = np.stack([np.full(3200, value) for value in (0.4, 0.2, -0.1, 0.3, 0.0, 0.4)], 1)
    blocks, _ = run(written(tmp_path / "a.wav", channels, subtype="FLOAT"))
    assert set(sound_of(blocks).tolist()) == {round(0.2 * 32768)}


@pytest.mark.parametrize("rate", [RATE, 44_100])
@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 3e38, -7.5, 1e-42])
def test_floats_may_be_anything(tmp_path: Path, odd: float, rate: int) -> None:
    """What is no number is silence; what goes beyond full scale is full scale."""
    samples = np.stack([chirp(rate), chirp(rate)], 1).astype(np.float32)
    samples[rate : rate + rate // 100] = odd, -odd
    samples[: rate // 10] = odd
    blocks, source = run(written(tmp_path / "a.wav", samples, rate, "FLOAT"))
    out = sound_of(blocks)
    full = abs(odd) > 1 and np.isfinite(odd)
    expected = np.sign(odd) * 32768 if full else 0
    assert np.abs(out[400:1500] - expected).max() <= 400  # a resampler's ringing at the edge
    wanted = chirp(RATE) * 32768
    assert np.abs(out[18_000:30_000] - wanted[18_000:30_000]).max() < 200
    assert source.peak <= 1


def test_full_scale_is_kept(tmp_path: Path) -> None:
    samples = np.array([-32768, 32767, 0, 1, -1] * 64, np.int16)
    blocks, _ = run(written(tmp_path / "a.wav", samples))
    assert (sound_of(blocks) == samples).all()


def test_the_real_recordings_are_played_as_they_are() -> None:
    for path in sorted((SPEECH).glob("*.wav")):
        samples, rate = soundfile.read(path, dtype="int16")
        blocks, source = run(path, rate)
        assert (sound_of(blocks)[: len(samples)] == samples).all()
        assert source.warnings == []


# ── odd files ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "subtype", "share"),
    [("a.wav", "PCM_16", 0.5), ("a.wav", "PCM_16", 0.013), ("a.aiff", "PCM_16", 0.5)],
)
def test_a_truncated_file_is_played_as_far_as_it_goes(
    tmp_path: Path, name: str, subtype: str, share: float
) -> None:
    path = written(tmp_path / name, noise(2 * RATE), RATE, subtype)
    whole = path.read_bytes()
    path.write_bytes(whole[: round(len(whole) * share)])
    blocks, source = run(path)
    assert source.warnings == [f"{path} is truncated; it is played as far as it goes"]
    out = sound_of(blocks)
    assert len(out) == pytest.approx(2 * RATE * share, abs=400)
    assert (out[: len(out) - 320] == noise(2 * RATE)[: len(out) - 320]).all()


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24"])
@pytest.mark.parametrize("count", [1600, 1601])
def test_a_whole_file_of_an_odd_size_is_not_truncated(
    tmp_path: Path, subtype: str, count: int
) -> None:
    path = written(tmp_path / "a.wav", noise(count) / 40_000, RATE, subtype)
    assert run(path)[1].warnings == []


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x80000000, 0x7FFFFFFF - 36, 0x7FFFF000])
def test_a_file_that_was_written_into_a_pipe_is_not_truncated(tmp_path: Path, size: int) -> None:
    path = written(tmp_path / "a.wav", noise(1600))
    whole = path.read_bytes()
    path.write_bytes(whole[:40] + size.to_bytes(4, "little") + whole[44:])
    blocks, source = run(path)
    assert source.warnings == []
    assert (sound_of(blocks) == noise(1600)).all()


@pytest.mark.parametrize("name", ["a.flac", "a.ogg", "a.mp3"])
def test_a_truncated_file_that_was_compressed_too(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name, noise(30 * RATE) / 40_000)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    blocks, source = run(path)
    assert len(source.warnings) == 1
    assert str(path) in source.warnings[0]
    assert 10 < len(blocks) * BLOCK < 16
    assert np.abs(sound_of(blocks)).max() > 5000


def test_a_file_damaged_from_its_first_sample_on_ends_at_once(tmp_path: Path) -> None:
    path = written(tmp_path / "a.flac", noise(RATE))
    path.write_bytes(path.read_bytes()[:200])
    blocks, source = run(path, more=2)
    assert [block.last for block in blocks] == [True, False, False]
    assert not sound_of(blocks).any()
    assert source.warnings[0].startswith(f"{path} is ")


def test_a_silent_file_is_played_and_called_silent(tmp_path: Path) -> None:
    path = written(tmp_path / "a.wav", np.full(RATE, 3, np.int16))
    blocks, source = run(path)
    assert len(blocks) == 50
    assert source.warnings == [f"{path} is silent throughout"]
    assert run(written(path, np.full(RATE, 4, np.int16)))[1].warnings == []


HEADER = b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0%s\0}\0\0\x02\0\x10\0data\x10\0\0\0" + bytes(
    16
)


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("empty.wav", b"", "cannot be read as a recording: Format not recognised"),
        ("no audio.wav", b"hello\n" * 500, "cannot be read as a recording: Format not recognised"),
        ("no audio.mp3", b"hello\n" * 500, "cannot be read as a recording: Format not recognised"),
        ("samples.raw", bytes(64), "cannot be read as a recording: there is no header"),
        ("slow.wav", HEADER % b"\1\0\0\0", "has a sample rate of 1 Hz"),
        ("fast.wav", HEADER % b"\xff\xff\xff\x7f", "has a sample rate of 2147483647 Hz"),
    ],
)
def test_what_is_no_recording(tmp_path: Path, name: str, content: bytes, cause: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert refused(path) == f"{path} {cause}"


def refused(path: Path) -> str:
    """Why ``path`` is refused; and there is a hint."""
    with pytest.raises(InputError) as caught, open_wav(path, RATE, BLOCK):
        pass
    assert caught.value.hint.endswith(".")
    return caught.value.cause


def test_a_file_of_no_samples(tmp_path: Path) -> None:
    path = written(tmp_path / "a.wav", noise(0))
    assert refused(path) == f"{path} contains no sound"


def test_what_is_no_file(tmp_path: Path) -> None:
    assert refused(tmp_path) == f"{tmp_path} is a folder"
    assert refused(tmp_path / "a.wav") == f"there is no file {tmp_path / 'a.wav'}"
    inside = written(tmp_path / "b.wav", noise(10)) / "c.wav"
    assert refused(inside) == f"{inside} cannot be read: Not a directory"
    long = tmp_path / ("a" * 300 + ".wav")
    assert refused(long) == f"{long} cannot be read: File name too long"
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    loop = tmp_path / "loop.wav"
    assert refused(loop) == f"{loop} cannot be read: Too many levels of symbolic links"


@contextmanager
def unprivileged() -> Iterator[None]:
    """Root may read anything: be somebody else for a while."""
    if os.geteuid():
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_no_permission(tmp_path: Path) -> None:
    path = written(tmp_path / "a.wav", noise(10))
    path.chmod(0)
    with unprivileged():
        assert refused(path) == f"{path} cannot be read: Permission denied"
    folder = tmp_path / "closed"
    folder.mkdir()
    inside = written(folder / "a.wav", noise(10))
    folder.chmod(0)
    with unprivileged():
        assert refused(inside) == f"{inside} cannot be read: Permission denied"
    folder.chmod(0o700)


def test_a_long_file_streams_in_flat_memory(tmp_path: Path) -> None:
    """Forty minutes at 16 kHz; two at 192 kHz in stereo, which would be 92 MB in memory.

    A table of the interpreter may grow by 4 MB meanwhile, in a process with many strings.
    """
    path = tmp_path / "a.wav"
    for rate, channels, minutes, target in ((16_000, 1, 40, 16_000), (192_000, 2, 2, 48_000)):
        piece = noise(rate * channels).reshape(-1, channels)
        with soundfile.SoundFile(path, "w", rate, channels) as sound:
            for _ in range(60 * minutes):
                sound.write(piece)

        async def main(source: WavSource, half: int) -> tuple[int, list[int]]:
            count, peaks = 0, []
            async with aclosing(source.blocks()) as stream:
                async for block in stream:
                    count += 1
                    if count == 10:
                        tracemalloc.start()
                    if count == half or block.last:
                        peaks.append(tracemalloc.get_traced_memory()[1])
                        tracemalloc.reset_peak()
                    if block.last:
                        break
            tracemalloc.stop()
            return count, peaks

        with open_wav(path, target, 0.25) as source:
            count, (first, second) = clock.run(main(source, 120 * minutes), virtual=True)
        assert count == 240 * minutes
        size = path.stat().st_size
        assert first < size / 10
        assert second < first + size / 10  # kept, it would be half of it
