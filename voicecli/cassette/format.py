"""The files of a cassette.

A cassette is a folder with one file for each WebSocket (``stt-1.jsonl``, ``tts-1.jsonl``, counted
as they were opened) and one for all requests to the LLM (``llm.jsonl``).  They are JSON lines in
ASCII.  The first line is the header:

    {"cassette": 1, "program": "voicecli", "version": "0.1.0", "service": "stt",
     "path": "/v1/listen?…", "rate": 16000, "started": "2026-11-25T15:02:11+00:00"}

path: below the service's URL; null for the LLM.  rate: of the audio, in hertz; null for the LLM.
Each further line is one fact; ``at`` is seconds on the session's clock.  Of a WebSocket:

    {"at": …, "opened": 0.21, "request_id": "…"}      the handshake took 0.21 s
    {"at": …, "refused": 401, "headers": {…}, "body": "…"}
    {"at": …, "sent": {…}, "audio": 3.42}             a text message to the service
    {"at": …, "got": {…}, "audio": 3.5, "since": 0.013}    one from the service
    {"at": …, "level": -31.5, "audio": 3.5}           STT: of the last half second of audio sent
    {"at": …, "pcm": 3200, "levels": "aaMLJ…"}        TTS: bytes of audio, and their loudness
    {"at": …, "closed": 1000, "reason": "", "by": "service", "audio": …, "since": …}

audio: seconds of audio that had been sent to the STT; not in the files of the TTS.
since: seconds since the last of it had been sent, or since the connection was opened.
levels: see ``levels``; "" where the audio itself is kept, in a FLAC file of the same name.

Of the requests to the LLM, each with its number:

    {"at": …, "request": 1, "method": "POST", "path": "/chat/completions", "body": {…}}
    {"at": …, "answer": 1, "status": 200, "headers": {…}}
    {"at": …, "answer": 1, "data": "data: {…}\\n\\n"}
    {"at": …, "answer": 1, "end": "complete"}         or "left" by the program, or "lost"

Bytes that are no UTF-8 are lone surrogates (Python's ``surrogateescape``).  Headers of requests,
which hold the key, are not recorded; in all texts, what looks like a key is replaced.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from voicecli.environment.files import read_file
from voicecli.errors import InputError
from voicecli.sanitize import sanitize_line, sanitize_short
from voicecli.units import Seconds

FORMAT = 1
"""Raised when an earlier cassette can no longer be read."""

PROGRAM = "voicecli"

LARGEST = 1 << 28
"""Bytes of a file; an hour of conversation takes about 20 MB."""

SUFFIX, AUDIO_SUFFIX = ".jsonl", ".flac"

FILE_NAME = re.compile(r"(?:(stt|tts)-[1-9]\d*|llm)\.jsonl", re.ASCII)


def find_rate(path: str) -> int | None:
    """Return the sample rate that the query of a WebSocket names; None if it names none."""
    values = parse_qs(urlsplit(path).query).get("sample_rate", [""])
    return int(values[-1]) if re.fullmatch(r"[1-9]\d{3,5}", values[-1], re.ASCII) else None


def parse_text(text: str) -> Any:
    """Return the object in a text message; the text itself if it holds none."""
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return parsed if isinstance(parsed, dict) else text


def format_text(message: Any) -> str:
    """Return the text message of what ``parse_text`` returned."""
    return message if isinstance(message, str) else json.dumps(message)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file, and its place, FILE:LINE."""

    place: str
    values: Mapping[str, Any]

    def __contains__(self, key: str) -> bool:
        return key in self.values

    @property
    def at(self) -> Seconds:
        """When, on the session's clock."""
        return self.number("at")

    def number(self, key: str) -> float:
        """Return a number."""
        value = self._take(key, int | float, "a number")
        return float(value)

    def integer(self, key: str) -> int:
        """Return a whole number."""
        value: int = self._take(key, int, "a whole number")
        return value

    def text(self, key: str) -> str:
        """Return a text."""
        value: str = self._take(key, str, "a text")
        return value

    def headers(self) -> dict[str, str]:
        """Return the headers."""
        value: dict[str, Any] = self._take("headers", dict, "an object")
        return {name: sanitize_line(str(one)) for name, one in value.items()}

    def body(self, key: str) -> bytes:
        """Return the bytes that a text stands for."""
        return self.text(key).encode(errors="surrogateescape")

    def fail(self, problem: str) -> InputError:
        """Make the error for a line that cannot be used."""
        return InputError(f"{self.place}: {problem}", hint="Record the cassette again.")

    def _take(self, key: str, kind: Any, expected: str) -> Any:
        value = self.values.get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            what = f"no `{key}`" if key not in self.values else f"`{key}` is not {expected}"
            raise self.fail(what)
        return value


def read_lines(file: Path) -> Iterator[Line]:
    """Yield the lines of a file, the header first; raises InputError with FILE:LINE."""
    try:
        content = read_file(file, LARGEST)
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    for number, text in enumerate(content.splitlines(), 1):
        place = f"{file}:{number}"
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            values = None
        line = Line(place, values if isinstance(values, dict) else {})
        if not isinstance(values, dict):
            raise line.fail("not a JSON object")
        if number == 1:
            _check_header(line)
        yield line
    if not content.strip():
        raise InputError(f"{file}:1: empty", hint="Record the cassette again.")


def _check_header(line: Line) -> None:
    if line.values.get("program") != PROGRAM or "cassette" not in line:
        raise line.fail(f"not a cassette of {PROGRAM}")
    if line.values["cassette"] != FORMAT:
        found = sanitize_short(str(line.values["cassette"]))
        raise line.fail(f"the cassette's format is {found}, and must be {FORMAT}")
