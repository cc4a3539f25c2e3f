"""A conversation as JSON lines, for a program that follows it.

{"schema_version": 1, "event": "FinalTranscript", "at": 3.25, "text": "Hello.", …}
{"schema_version": 1, "action": "CommitReply", "at": 3.25, "turn": 1, …}
{"schema_version": 1, "event": "Result", "result": {…}}

The entries are those of ``timeline.jsonl``; the last line holds what ``result.json`` does.  ASCII
only, so that nothing a service said commands a terminal.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from voicecli.timeline import Entry, encode

SCHEMA_VERSION = 1


class JsonLines:
    """A follower of a timeline.

    write: is given one line, without its end.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def __call__(self, entry: Entry) -> None:
        """Write the next entry."""
        self._write(f'{{"schema_version": {SCHEMA_VERSION}, {encode(entry)[1:]}')


def result_line(result: str) -> str:
    """The last line, of a ``result`` as ``report.result`` writes it."""
    last = {"schema_version": SCHEMA_VERSION, "event": "Result", "result": json.loads(result)}
    return json.dumps(last, allow_nan=False)
