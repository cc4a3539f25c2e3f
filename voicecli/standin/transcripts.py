"""The frames that ``/v1/listen`` sends, as the service shapes them."""

from __future__ import annotations

import string
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np

from voicecli.standin.segmenter import ResultDue
from voicecli.units import Seconds

Frame = dict[str, Any]

MODEL_UUID = "00000000-0000-4000-8000-000000000003"
MODEL_INFO = {"name": "general-nova-3", "version": "2025-04-17.21547", "arch": "nova-3"}
CONFIDENCE = 0.98


def results(due: ResultDue, text: str, *, punctuated: bool, request_id: str) -> Frame:
    """A Results frame: ``text`` is what the segment says, punctuated.

    punctuated: whether the client asked for punctuation and capitals.
    """
    segment, start = due.segment, due.start / due.segment.rate
    words: list[Frame] = [
        {
            "word": plain(word),
            "start": single(start + begin),
            "end": single(start + end),
            "confidence": CONFIDENCE,
        }
        | ({"punctuated_word": word} if punctuated else {})
        for word, begin, end in spread(text.split(), segment.voiced)
    ]
    transcript = " ".join(text.split() if punctuated else (word["word"] for word in words))
    return {
        "type": "Results",
        "channel_index": [0, 1],
        "duration": single((due.at - due.start) / segment.rate),
        "start": single(start),
        "is_final": due.result != "interim",
        "speech_final": due.speech_final,
        "channel": {
            "alternatives": [
                {
                    "transcript": transcript,
                    "confidence": CONFIDENCE if words else 0.0,
                    "words": words,
                }
            ]
        },
        "metadata": {
            "request_id": request_id,
            "model_info": MODEL_INFO,
            "model_uuid": MODEL_UUID,
        },
        "from_finalize": due.from_finalize,
    }


def spread(
    words: list[str], voiced: tuple[tuple[Seconds, Seconds], ...]
) -> Iterator[tuple[str, Seconds, Seconds]]:
    """Each word with its start and end, if all words take equally long of the voiced time."""
    total = sum(end - start for start, end in voiced)
    for index, word in enumerate(words):
        begin = _place(total * index / len(words), voiced)
        end = _place(total * (index + 1) / len(words), voiced, ending=True)
        yield word, begin, end


def _place(
    spoken: Seconds, voiced: tuple[tuple[Seconds, Seconds], ...], *, ending: bool = False
) -> Seconds:
    """Where so much has been spoken; at a pause an end lies before it, a beginning behind it."""
    for start, end in voiced:
        length = end - start
        if spoken < length - 1e-9 or (ending and spoken <= length + 1e-9):
            return start + spoken
        spoken -= length
    return voiced[-1][1] if voiced else 0.0


def plain(word: str) -> str:
    """``word`` as without ``punctuate``: in lower case, without punctuation around it."""
    return word.strip(string.punctuation).lower() or word


def single(seconds: Seconds) -> float:
    """The 32-bit float that the service prints in full."""
    return float(str(np.float32(seconds)))


def speech_started(at: Seconds) -> Frame:
    """A SpeechStarted frame."""
    return {"type": "SpeechStarted", "channel": [0, 1], "timestamp": single(at)}


def utterance_end(last_word_end: Seconds) -> Frame:
    """An UtteranceEnd frame."""
    return {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": last_word_end}


def metadata(request_id: str, duration: Seconds, sha256: str) -> Frame:
    """The Metadata frame before the end.

    sha256: of all the audio; "incomplete" before an error close.
    """
    frame = {
        "type": "Metadata",
        "transaction_key": "deprecated",
        "request_id": request_id,
        "sha256": sha256,
        "created": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z",
        "duration": single(duration),
        "channels": 1 if duration else 0,
    }
    return frame | (
        {"models": [MODEL_UUID], "model_info": {MODEL_UUID: MODEL_INFO}} if duration else {}
    )
