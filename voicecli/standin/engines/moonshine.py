"""Moonshine, a small English speech recognition model, on plain onnxruntime.

An encoder takes the audio as a whole; a decoder writes the text token by token, always the
likeliest one.  The text has punctuation, but no word times.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from voicecli.units import Seconds

MIN_AUDIO: Seconds = 0.1
"""Shorter audio has no word, and is too short for the encoder's convolutions."""

TOKENS_PER_SECOND = 6.5
"""No speaker says more.  On noise the decoder may not stop; Moonshine's authors cut it here too."""

BEGIN, END = 1, 2

Cache = dict[str, NDArray[np.float32]]


class Moonshine:
    """The model in ``folder``.  Calls block, and may come from any thread."""

    rate = 16_000  # Hz, of the audio it takes

    def __init__(self, folder: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        # threads that spin between calls would compete with the LLM and the TTS for the cores
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")

        def load(name: str) -> Any:
            path = str(folder / f"{name}.ort")
            return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

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

    def transcribe(self, samples: NDArray[np.float32]) -> str:
        """Return the text of ``samples``, at ``rate`` and from -1 to 1."""
        if len(samples) < MIN_AUDIO * self.rate:
            return ""
        inputs: dict[str, Any] = {"input_values": samples[None]}
        mask = np.ones((1, len(samples)), np.int64)
        if "attention_mask" in self._encoder_inputs:
            inputs["attention_mask"] = mask
        encoded = self._encoder.run(None, inputs)[0]
        limit = int(len(samples) / self.rate * TOKENS_PER_SECOND) + 6
        text = b"".join(self._vocabulary[token] for token in self._decode(encoded, mask, limit))
        return text.decode("utf-8", "replace").replace("\u2581", " ").strip()

    def _decode(
        self, encoded: NDArray[np.float32], mask: NDArray[np.int64], limit: int
    ) -> list[int]:
        tokens: list[int] = []
        cache, token = dict(self._empty), BEGIN
        while len(tokens) < limit:
            inputs: dict[str, Any] = {
                "input_ids": np.array([[token]], np.int64),
                "encoder_hidden_states": encoded,
                "encoder_attention_mask": mask,
                "use_cache_branch": np.array([bool(tokens)]),
                **cache,
            }
            wanted = {name: inputs[name] for name in self._decoder_inputs}
            logits, *present = self._decoder.run(None, wanted)
            token = int(logits[0, -1].argmax())
            if token == END:
                break
            for name, value in zip(self._cached, present, strict=True):
                # the encoder's keys are computed with the first token and come back empty after it
                if not tokens or "decoder" in name:
                    cache[name] = value
            tokens.append(token)
            if period := _repeated_length(tokens):
                return tokens[: -2 * period]
        return tokens


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
