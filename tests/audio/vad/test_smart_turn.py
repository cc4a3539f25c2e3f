"""Smart Turn: its input, where its network is looked for, and what it makes of recorded speech."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support import SPEECH
from voicecli import models
from voicecli.audio.pcm import Float32Array
from voicecli.audio.vad import smart_turn
from voicecli.audio.vad.smart_turn import (
    BANDS,
    FRAMES,
    LONGEST,
    RATE,
    SmartTurn,
    compute_features,
    create_network,
    find_network,
)
from voicecli.errors import InputError, UsageError
from voicecli.units import AudioBlock, AudioFormat


def make_tone(frequency: float, seconds: float, level: float = 0.1) -> Float32Array:
    wave = level * np.sin(2 * np.pi * frequency * np.arange(round(seconds * RATE)) / RATE)
    return wave.astype(np.float32)


@pytest.mark.parametrize(("frequency", "band"), [(200, 5), (1000, 26), (4000, 62)])
def test_a_tone_is_loudest_in_its_band(frequency: float, band: int):
    """Bands are 0.5586 mel apart; 200 Hz are 3, 1 kHz 15, 4 kHz 35.2 mel."""
    features = compute_features(make_tone(frequency, 8))
    assert features.shape == (BANDS, FRAMES)
    assert features.dtype == np.float32
    assert abs(int(features[:, FRAMES // 2].argmax()) - band) <= 1


def test_the_level_does_not_matter():
    loud, quiet = make_tone(500, 8, 0.5), make_tone(500, 8, 0.01)
    assert np.allclose(compute_features(loud), compute_features(quiet), atol=0.01)


def test_only_the_last_seconds_count():
    turn = make_tone(500, LONGEST)
    longer = np.concatenate([make_tone(3000, 3), turn])
    assert np.array_equal(compute_features(longer), compute_features(turn))


def test_a_short_turn_is_at_the_end():
    features = compute_features(make_tone(500, 2))
    loudness = features.max(axis=0)
    assert loudness[: FRAMES - 210].max() < loudness[FRAMES - 190 :].min() - 1


@pytest.mark.parametrize("length", [0, 1, RATE])
def test_silence_has_features(length: int):
    assert np.isfinite(compute_features(np.zeros(length, np.float32))).all()


# ── where the network is ─────────────────────────────────────────────────────


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("VOICECLI_MODELS", str(tmp_path))
    return tmp_path


def put_network(folder: Path) -> Path:
    (pinned,) = models.SMART_TURN.files
    file = folder / models.SMART_TURN.name / pinned.name
    file.parent.mkdir()
    with file.open("wb") as sparse:
        sparse.truncate(pinned.size)
    return file


def test_the_network_is_used_where_it_has_been_fetched(folder: Path):
    pytest.importorskip("onnxruntime")
    assert find_network("auto") is None
    file = put_network(folder)
    assert find_network("auto") == find_network("smart-turn") == file
    assert find_network("off") is None


def test_a_network_that_is_asked_for_and_missing_is_an_error(folder: Path):
    pytest.importorskip("onnxruntime")
    with pytest.raises(UsageError, match="has not been fetched") as error:
        find_network("smart-turn")
    assert error.value.hint == "Fetch it with: voicecli models fetch."


def test_without_onnxruntime_there_is_no_network(folder: Path, monkeypatch: pytest.MonkeyPatch):
    put_network(folder)
    monkeypatch.setattr(smart_turn, "find_spec", lambda _: None)
    assert find_network("auto") is None
    with pytest.raises(UsageError, match="onnxruntime") as error:
        find_network("smart-turn")
    assert "voicecli[smart-turn]" in str(error.value.hint)


# ── the network ──────────────────────────────────────────────────────────────


def judge(name: str, rate: int, until: float | None = None) -> float:
    found = models.find(models.SMART_TURN)
    assert found is not None
    samples, _ = soundfile.read(SPEECH / f"{name}.wav", dtype="int16")
    samples = samples[: None if until is None else round(until * RATE)]
    samples = np.repeat(samples, rate // RATE)
    size = rate // 50
    blocks = [
        AudioBlock(samples[at : at + size].tobytes(), at / rate)
        for at in range(0, len(samples), size)
    ]
    network = SmartTurn(found / models.SMART_TURN.files[0].name)
    return network.judge(blocks, AudioFormat(rate))


@pytest.mark.local
@pytest.mark.parametrize("content", [b"", b"\x08\x07 garbage", b"<html>"])
def test_a_damaged_network_is_told_with_its_name(tmp_path: Path, content: bytes):
    file = tmp_path / "network.onnx"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"network\.onnx cannot be loaded") as error:
        SmartTurn(file).load()
    assert "voicecli models fetch" in str(error.value.hint)


@pytest.mark.local
@pytest.mark.skipif(not models.find(models.SMART_TURN), reason="run: voicecli models fetch")
def test_sessions_that_open_side_by_side_share_the_network():
    smart_turn._create.cache_clear()
    with ThreadPoolExecutor(4) as threads:
        loaded = list(threads.map(create_network, ["smart-turn"] * 4))
    assert all(one is loaded[0] for one in loaded)


@pytest.mark.local
@pytest.mark.skipif(not models.find(models.SMART_TURN), reason="run: voicecli models fetch")
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_a_sentence_has_ended_and_half_of_it_has_not(rate: int):
    """ "… might have been made still more respectable than he was"; the half ends in "amiable"."""
    assert judge("librivox-0920", rate) > 0.9
    assert judge("librivox-0920", rate, until=2.2) < 0.5
