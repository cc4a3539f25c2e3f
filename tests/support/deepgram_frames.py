"""Frames as Nova-3 sends them."""

from __future__ import annotations

from typing import Any


def results(text: str, *words: tuple[float, float], **changes: Any) -> dict[str, Any]:
    """Make a Results frame; ``words``: start and end of the first and the last word."""
    spelt = text.split() or [""]
    frame: dict[str, Any] = {
        "type": "Results",
        "channel_index": [0, 1],
        "duration": 1.5,
        "start": 0.5,
        "is_final": False,
        "speech_final": False,
        "channel": {
            "alternatives": [
                {
                    "transcript": text,
                    "confidence": 0.98,
                    "words": [
                        {"word": spelt[0].lower(), "start": start, "end": end, "confidence": 0.9}
                        for start, end in words
                    ],
                }
            ]
        },
        "metadata": {"request_id": "id", "model_info": {"name": "general-nova-3"}},
        "from_finalize": False,
    }
    return frame | changes
