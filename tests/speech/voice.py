"""Synthesizes the phrases of the scenes that are missing in ``clips/``; needs the extra ``local``.

    python -m tests.speech.voice

The voice is hibari's "heart" (Apache 2.0).  It never says a phrase twice in the same way, so the
clips are kept, and ``build`` starts from them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import soxr

CLIPS = Path(__file__).parent / "clips"
RATE = 16_000
GAIN = 1.8  # as the stand-in's, see voicecli/standin/engines/local.py
EDGE = 0.01
"""A phrase begins and ends with its first and last sample of this share of its peak (-40 dB)."""

PHRASES = {
    "rome": "Can you tell me about the history of the city of Rome?",
    "sunday": "What will the weather be like on Sunday?",
    "train": "And how do I get there by train?",
    "meant": "Wait, I meant the city of Paris.",
    "instead": "No, tell me about the weather instead.",
    "uh-huh": "Uh-huh.",
    "okay": "Okay.",
    "yeah": "Yeah.",
    "right": "Right.",
    "aside": "No, put it over there, please.",
    "table-1": "I would like to book a table for",
    "table-2": "let me think,",
    "table-3": "four people, on Friday evening.",
    "number-1": "My number is five five five",
    "number-2": "one two three",
    "number-3": "four five six seven.",
    "remind-1": "Can you remind me to call",
    "remind-2": "my sister tomorrow morning?",
}


def synthesize() -> None:
    """Write each missing phrase, cut to its voice, as 16-bit FLAC at 16 kHz."""
    from hibari import Hibari

    model = Hibari(threads=1)
    CLIPS.mkdir(exist_ok=True)
    for name, text in PHRASES.items():
        if (CLIPS / f"{name}.flac").exists():
            continue
        samples = np.concatenate(list(model.stream(text))) * GAIN
        samples = np.clip(soxr.resample(samples, model.sample_rate, RATE), -1, 1)
        voiced = np.flatnonzero(np.abs(samples) >= EDGE * np.abs(samples).max())
        cut = samples[voiced[0] : voiced[-1] + 1]
        soundfile.write(CLIPS / f"{name}.flac", cut, RATE, "PCM_16", compression_level=1.0)


if __name__ == "__main__":
    synthesize()
