"""Silero's network: the published file, computed by onnxruntime, is the oracle."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from importlib.resources import files

import numpy as np
import pytest
from typing_extensions import override

from tests.audio.vad.test_silero import NAMES, RATE, blocks, noisy, spoken
from tests.silero_weights import PUBLISHED
from voicecli.audio.pcm import Float32Array, samples_of
from voicecli.audio.vad import network
from voicecli.audio.vad.network import CONTEXT, WINDOW, SileroNetwork, load_weights
from voicecli.audio.vad.silero import SileroDetector
from voicecli.events import Event
from voicecli.models.onnx import open_network
from voicecli.units import AudioFormat

pytest.importorskip("onnxruntime")

DIFFERENCE = 1e-5
"""Of a probability, at most: the order of 32-bit additions changes it."""


class PublishedNetwork(SileroNetwork):
    """The published network, computed by onnxruntime."""

    session = open_network(PUBLISHED, {})

    @override
    def reset(self) -> None:
        self._input = np.zeros((1, CONTEXT + WINDOW), np.float32)
        self._state = np.zeros((2, 1, 128), np.float32)

    @override
    def judge(self, window: Float32Array) -> float:
        self._input[0, :CONTEXT] = self._input[0, -CONTEXT:]
        self._input[0, CONTEXT:] = window
        inputs = {"input": self._input, "state": self._state, "sr": np.array(RATE, np.int64)}
        probability, self._state = self.session.run(None, inputs)
        return float(probability[0, 0])


def say(name: str, snr: float | None, rate: int = RATE) -> bytes:
    """A recorded sentence between silences, in noise so many dB below it, or in none."""
    pcm = spoken(name, rate)
    return pcm if snr is None else noisy(pcm, snr)


def windows(pcm: bytes) -> list[Float32Array]:
    samples = samples_of(pcm).astype(np.float32) / 32768
    return [*samples[: len(samples) // WINDOW * WINDOW].reshape(-1, WINDOW)]


def detect(pcm: bytes, rate: int, block: float, network: SileroNetwork) -> list[Event]:
    detector = SileroDetector(AudioFormat(rate), 0.2, 0.1, network)
    cut = blocks(pcm, rate, round(block * rate))
    return [event for one in cut for event in detector.feed(one)]


@pytest.mark.parametrize("snr", [None, 20, 12, 5])
@pytest.mark.parametrize("name", NAMES)
def test_probabilities_are_the_published_networks(name: str, snr: float | None) -> None:
    own, published = SileroNetwork(), PublishedNetwork()
    pairs = [(own.judge(one), published.judge(one)) for one in windows(say(name, snr))]

    assert max(probability for _, probability in pairs) > 0.9
    assert max(abs(one - other) for one, other in pairs) < DIFFERENCE


def test_so_they_are_for_any_sound() -> None:
    own, published = SileroNetwork(), PublishedNetwork()
    rng = np.random.default_rng(1)
    for index in range(300):
        loudness = 10 ** rng.uniform(-5, 0)
        window = rng.uniform(-loudness, loudness, WINDOW).astype(np.float32)
        if index % 7 == 0:
            window[:] = loudness
        assert own.judge(window) == pytest.approx(published.judge(window), abs=DIFFERENCE)


@pytest.mark.parametrize("rate", [RATE, 48_000])
@pytest.mark.parametrize("snr", [None, 20, 12, 5])
@pytest.mark.parametrize("name", NAMES)
def test_decisions_are_those_of_the_published_network(
    name: str, snr: float | None, rate: int
) -> None:
    pcm = say(name, snr, rate)
    for block in (0.01, 0.02, 0.1, 0.167):
        events = detect(pcm, rate, block, SileroNetwork())

        assert len(events) >= 2
        assert events == detect(pcm, rate, block, PublishedNetwork())


def test_after_a_reset_it_judges_as_if_new() -> None:
    said = windows(spoken("0880"))
    network = SileroNetwork()
    first = [network.judge(one) for one in said]
    network.reset()

    assert [network.judge(one) for one in said] == first


def test_streams_share_the_weights_but_not_what_they_heard() -> None:
    said = windows(spoken("0880"))
    alone, one, other = SileroNetwork(), SileroNetwork(), SileroNetwork()
    heard = [(one.judge(window), other.judge(np.zeros_like(window))) for window in said]

    assert [probability for probability, _ in heard] == [alone.judge(window) for window in said]
    assert max(probability for _, probability in heard) < 0.1
    assert load_weights() is load_weights()


def test_streams_that_open_side_by_side_share_the_weights() -> None:
    network._read_weights.cache_clear()
    ready = threading.Barrier(6)

    def load() -> object:
        ready.wait()
        return load_weights()

    with ThreadPoolExecutor(6) as threads:
        loaded = [asked.result() for asked in [threads.submit(load) for _ in range(6)]]
    assert all(one is loaded[0] for one in loaded)


def test_the_oracle_is_the_published_network_and_its_licence_is_shipped() -> None:
    assert sha256(PUBLISHED.read_bytes()).hexdigest() == (
        "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3"  # release 6.2.1
    )
    licence = files("voicecli").joinpath("data", "silero_vad.LICENSE").read_text()
    assert "2020-present Silero Team" in licence


def test_onnxruntime_is_not_imported() -> None:
    program = (
        "import sys, voicecli.audio.vad as d; from voicecli.units import AudioFormat as F;"
        "d.create_detector('silero', F(16000), 0.2); assert 'onnxruntime' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
