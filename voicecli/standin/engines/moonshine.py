"""Moonshine, a small English speech recognition model, on plain onnxruntime.

An encoder takes the audio as a whole; a decoder writes the text token by token, always the
likeliest one.  The text has punctuation, but no word times.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from voicecli.models.onnx import open_network
from voicecli.units import Seconds

MIN_AUDIO: Seconds = 0.1
"""Shorter audio has no word, and is too short for the encoder's convolutions."""

TOKENS_PER_SECOND = 6.5
"""No speaker says more.  On noise the decoder may not stop; Moonshine's authors cut it here too."""

BEGIN, END = 1, 2

Cache = dict[str, NDArray[np.float32]]


class Transcript(NamedTuple):
    """What was said, and the model's tokens for it."""

    text: str
    tokens: tuple[int, ...]


class Moonshine:
    """The model in ``folder``.  Calls block, and may come from any thread."""

    rate = 16_000  # Hz, of the audio it takes

    def __init__(self, folder: Path) -> None:
        def load(name: str) -> Any:
            # threads that spin between calls would compete with the LLM and the TTS for the cores
            spinning = {"session.intra_op.allow_spinning": "0"}
            return open_network(folder / f"{name}.ort", spinning)

        self._encoder, self._decoder = load("encoder_model"), load("decoder_model_merged")
        self._vocabulary = _read_vocabulary((folder / "tokenizer.bin").read_bytes())
        self._encoder_inputs = {i.name for i in self._encoder.get_inputs()}
        self._decoder_inputs = [i.name for i in self._decoder.get_inputs()]
        self._empty: Cache = {
            i.name: np.zeros((1, i.shape[1], 0, i.shape[3]), np.float32)
            for i in self._decoder.get_inputs()
            if i.name.startswith("past_key_values")
        }
        presents = [output.name for output in self._decoder.get_outputs()[1:]]
        self._cached = [name.replace("present", "past_key_values") for name in presents]

    def transcribe(self, samples: NDArray[np.float32], guess: Sequence[int] = ()) -> Transcript:
        """Transcribe ``samples``, at ``rate`` and from -1 to 1.

        guess: tokens that the text may begin with, as those of a shorter part of the same speech.
            They are checked in one step; each further token takes a third as long as that.
        """
        if len(samples) < MIN_AUDIO * self.rate:
            return Transcript("", ())
        inputs: dict[str, Any] = {"input_values": samples[None]}
        mask = np.ones((1, len(samples)), np.int64)
        if "attention_mask" in self._encoder_inputs:
            inputs["attention_mask"] = mask
        encoded = self._encoder.run(None, inputs)[0]
        limit = int(len(samples) / self.rate * TOKENS_PER_SECOND) + 6
        tokens = self._decode(encoded, mask, guess[:limit], limit)
        text = b"".join(self._vocabulary[token] for token in tokens).decode("utf-8", "replace")
        return Transcript(text.replace("\u2581", " ").strip(), tuple(tokens))

    def _decode(
        self,
        encoded: NDArray[np.float32],
        mask: NDArray[np.int64],
        guess: Sequence[int],
        limit: int,
    ) -> list[int]:
        likeliest, cache = self._step([BEGIN, *guess], dict(self._empty), encoded, mask)
        right = _count_equal(guess, likeliest)
        tokens, token = list(guess[:right]), likeliest[right]
        for name in cache:
            if "decoder" in name:  # what follows the wrong token
                cache[name] = cache[name][:, :, : 1 + right]
        while token != END and len(tokens) < limit:
            tokens.append(token)
            if period := _repeated_length(tokens):
                return tokens[: -2 * period]
            (token,), cache = self._step([token], cache, encoded, mask)
        return tokens

    def _step(
        self, tokens: list[int], cache: Cache, encoded: NDArray[np.float32], mask: NDArray[np.int64]
    ) -> tuple[list[int], Cache]:
        """Return what is likeliest after each of ``tokens``, and the cache with them."""
        is_first = tokens[0] == BEGIN
        inputs: dict[str, Any] = {
            "input_ids": np.array([tokens], np.int64),
            "encoder_hidden_states": encoded,
            "encoder_attention_mask": mask,
            "use_cache_branch": np.array([not is_first]),
            **cache,
        }
        wanted = {name: inputs[name] for name in self._decoder_inputs}
        logits, *present = self._decoder.run(None, wanted)
        for name, value in zip(self._cached, present, strict=True):
            # the encoder's keys are computed in the first step and come back empty after it
            if is_first or "decoder" in name:
                cache[name] = value
        return logits[0].argmax(axis=-1).tolist(), cache


def _count_equal(some: Sequence[int], others: Sequence[int]) -> int:
    """Count the items at the beginning that are equal in both."""
    pairs = enumerate(zip(some, others, strict=False))
    return next((at for at, (one, other) in pairs if one != other), min(len(some), len(others)))


def _repeated_length(tokens: list[int]) -> int:
    """Length of a phrase that ends ``tokens`` three times in a row (seen on noise), or 0."""
    for size in range(3, min(12, len(tokens) // 3) + 1):
        if tokens[-size:] == tokens[-2 * size : -size] == tokens[-3 * size : -2 * size]:
            return size
    return 0


def _read_vocabulary(data: bytes) -> list[bytes]:
    """Read tokenizer.bin: for each token its length, in two bytes from 128 on, and its bytes."""
    tokens, at = [], 0
    while at < len(data):
        size, at = data[at], at + 1
        if size >= 128:
            size, at = data[at] * 128 + size - 128, at + 1
        tokens.append(data[at : at + size])
        at += size
    return tokens
