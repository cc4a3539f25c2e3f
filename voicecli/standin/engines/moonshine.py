"""Moonshine, a small speech recogniser, run on plain onnxruntime.

An encoder hears the whole utterance at once; a decoder writes it down token by token, always the
likeliest.  English only; it writes punctuation, and knows no word times.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from voicecli.units import Seconds

SHORTEST: Seconds = 0.1
"""No word is shorter, and the encoder's convolutions need their length."""

TOKENS_PER_SECOND = 6.5
"""No speaker says more: Moonshine's authors stop here too, for on noise the decoder may not."""

BEGIN, END = 1, 2

Cache = dict[str, NDArray[np.float32]]


class Moonshine:
    """The model in ``folder``, on so many threads.

    rate: of what it hears, in hertz.

    Calls block, and may come from any thread.
    """

    rate = 16_000

    def __init__(self, folder: Path, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # threads that spin between calls would take the cores from the LLM and the TTS
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")

        def load(name: str) -> Any:
            path = str(folder / f"{name}.ort")
            return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

        self._encoder, self._decoder = load("encoder_model"), load("decoder_model_merged")
        self._vocabulary = _vocabulary((folder / "tokenizer.bin").read_bytes())
        self._encoder_inputs = {i.name for i in self._encoder.get_inputs()}
        self._decoder_inputs = [i.name for i in self._decoder.get_inputs()]
        self._empty: Cache = {
            i.name: np.zeros((1, i.shape[1], 0, i.shape[3]), np.float32)
            for i in self._decoder.get_inputs()
            if i.name.startswith("past_key_values")
        }
        self._cached = [
            output.name.replace("present", "past_key_values")
            for output in self._decoder.get_outputs()[1:]
        ]

    def transcribe(self, samples: NDArray[np.float32]) -> str:
        """What is said in ``samples``, of that rate and between -1 and 1."""
        if len(samples) < SHORTEST * self.rate:
            return ""
        inputs: dict[str, Any] = {"input_values": samples[None]}
        mask = np.ones((1, len(samples)), np.int64)
        if "attention_mask" in self._encoder_inputs:
            inputs["attention_mask"] = mask
        heard = self._encoder.run(None, inputs)[0]
        most = int(len(samples) / self.rate * TOKENS_PER_SECOND) + 6
        text = b"".join(self._vocabulary[token] for token in self._decode(heard, mask, most))
        return text.decode("utf-8", "replace").replace("\u2581", " ").strip()

    def _decode(self, heard: NDArray[np.float32], mask: NDArray[np.int64], most: int) -> list[int]:
        tokens: list[int] = []
        cache, token = dict(self._empty), BEGIN
        while len(tokens) < most:
            inputs: dict[str, Any] = {
                "input_ids": np.array([[token]], np.int64),
                "encoder_hidden_states": heard,
                "encoder_attention_mask": mask,
                "use_cache_branch": np.array([bool(tokens)]),
                **cache,
            }
            logits, *present = self._decoder.run(
                None, {name: inputs[name] for name in self._decoder_inputs}
            )
            token = int(logits[0, -1].argmax())
            if token == END:
                break
            for name, value in zip(self._cached, present, strict=True):
                # the encoder's keys are computed with the first token and come back empty after it
                if not tokens or "decoder" in name:
                    cache[name] = value
            tokens.append(token)
            if period := _repeats(tokens):
                return tokens[: -2 * period]
        return tokens


def _repeats(tokens: list[int]) -> int:
    """Length of a phrase that ``tokens`` end with three times over (seen on noise); 0 for none."""
    for size in range(3, min(12, len(tokens) // 3) + 1):
        if tokens[-size:] == tokens[-2 * size : -size] == tokens[-3 * size : -2 * size]:
            return size
    return 0


def _vocabulary(data: bytes) -> list[bytes]:
    """Moonshine's tokenizer.bin: each token's length in one byte, or two from 128 on, then it."""
    tokens, at = [], 0
    while at < len(data):
        size, at = data[at], at + 1
        if size >= 128:
            size, at = data[at] * 128 + size - 128, at + 1
        tokens.append(data[at : at + size])
        at += size
    return tokens
