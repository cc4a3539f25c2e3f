"""Reads the body of an answer: server-sent events, or one whole text.

Servers mislabel their answers, so the first bytes decide, not the Content-Type.
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

LONGEST = 4 << 20
"""Bytes of a line or of a whole text; a longer one is not a reply."""

DONE = "[DONE]"

_FIELD = re.compile(rb"(?:data|event|id|retry)?:|(?:data|event|id|retry)[\r\n]")
_LONGEST_FIELD = len(b"event:")
_LINE_END = re.compile(rb"\r\n|\n|\r(?=.)", re.DOTALL)  # a last CR may be half of a CR LF
_BLANK = b"\xef\xbb\xbf \t\r\n"


@dataclass(frozen=True, slots=True)
class Frame:
    """One event.

    data: what its JSON holds; text that is not JSON stays a string.
    name: the event's type; "" for the usual one.
    """

    data: object
    name: str = ""

    @property
    def done(self) -> bool:
        """Whether it says that no event follows."""
        return isinstance(self.data, str) and self.data.startswith(DONE)


@dataclass(slots=True)
class BodyDecoder:
    """Decodes a body as it arrives; does no I/O.

    An event is complete with its empty line, or before that with a line that is JSON by itself:
    some servers leave the empty lines out.

    text: the body, if it is no stream of events; complete after ``finish``.
    """

    text: bytes = b""
    _is_stream: bool | None = None
    _rest: bytes = b""
    _lines: list[str] = field(default_factory=list)
    _name: str = ""

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next bytes; return the events that they complete.  Raises ValueError."""
        self._rest += data
        if len(self._rest) > LONGEST:
            raise ValueError(f"more than {LONGEST >> 20} MiB without an end")
        if self._is_stream is None:
            head = self._rest.lstrip(_BLANK)
            if len(head) >= _LONGEST_FIELD or b"\n" in head:
                self._rest, self._is_stream = head, bool(_FIELD.match(head))
        return self._take_lines() if self._is_stream else []

    def finish(self) -> list[Frame]:
        """Return the events that the end of the body completes."""
        if not self._is_stream:
            self.text, self._rest = self._rest, b""
            return []
        self._rest += b"\n\n"
        return self._take_lines()

    def _take_lines(self) -> list[Frame]:
        *lines, self._rest = _LINE_END.split(self._rest)
        frames = (self._take_line(line.decode(errors="replace")) for line in lines)
        return [frame for frame in frames if frame is not None]

    def _take_line(self, line: str) -> Frame | None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._name = value
        elif name == "data":
            self._lines.append(value)
            if len(self._lines) == 1 and value[:1] in ("{", "["):
                return self._complete(unless_text=True)
        elif not line and self._lines:
            return self._complete()
        if not line:
            self._name = ""
        return None

    def _complete(self, *, unless_text: bool = False) -> Frame | None:
        """The event of the lines so far; None if it is text and ``unless_text``."""
        data = parse_json("\n".join(self._lines))
        if unless_text and isinstance(data, str) and not data.startswith(DONE):
            return None
        self._lines = []
        return Frame(data, self._name)


def parse_json(text: str) -> object:
    """Parse ``text``; return it as it is if it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
