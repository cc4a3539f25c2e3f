"""Replies as LLMs write them, and what is spoken of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from voicecli.pipeline.generation import ReplyText
from voicecli.text.chunker import BatchChunker


@dataclass(frozen=True)
class Row:
    """A reply as the LLM writes it, and what was and is spoken of it."""

    name: str
    written: str
    before: str
    after: str


def speak(written: str) -> tuple[str, bool]:
    """Return what is spoken of a reply that comes word by word, and whether it says anything."""
    text = ReplyText(BatchChunker(1000))
    for token in re.findall(r" ?\w+| ?[^\w\s]|\s", written):
        text.push(token)
    said = text.flush()
    return text.written.strip(), said
