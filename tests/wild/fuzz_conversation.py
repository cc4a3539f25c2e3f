"""Checks that a whole conversation ends well, and that what it leaves can be reported."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Protocol

import pytest

from tests.support.conversations import Conversation, profile
from tests.support.speech_like import alternate_speech
from tests.wild.fuzz_target import KEYS, check_exit, limit_time
from voicecli.cli.errors import print_error
from voicecli.cli.result import SessionResult
from voicecli.profile import Profile
from voicecli.report.turn_lines import TurnLines
from voicecli.standin.script import Latency, LlmScript, Script, SttScript
from voicecli.terminal.plain import PlainLines
from voicecli.timeline import decode, encode

SPEECH, _ = alternate_speech(0.3, 0.6, 2.0, 1.2, 1.5)
"""The second stretch of voice comes within the first reply: it takes the floor, or is not heard."""

TOWN = "It is Canberra. A quiet town, which lies between Sydney and Melbourne."
SCRIPT = Script(
    stt=SttScript(hears=("What is the capital?", "How far is it?"), gap=0.3, interim=0.3),
    llm=LlmScript(ttft=Latency(0.2), says=(TOWN, "Not far.")),
)
LATEST = 1200.0
"""Seconds of the conversation's time by which it has ended; 5000 characters are spoken for 300."""

MIDNIGHT = datetime(2026, 11, 27)


@cache
def load(*settings: str) -> Profile:
    """Load the profile of a conversation, with ``settings``."""
    return profile("limits.idle_s=6", "audio.block_ms=50", *settings)


PROFILE = load()


class Example(Protocol):
    """A conversation with odd services."""

    @property
    def profile(self) -> Profile:
        """What the program is started with."""

    def converse(self) -> Conversation:
        """Hold it."""


@dataclass
class _Errors(logging.Handler):
    """Keeps what asyncio and others log as an error: a task's exception that nobody took."""

    texts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(logging.ERROR)

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))

    __hash__ = logging.Handler.__hash__


@contextmanager
def _keep_errors() -> Iterator[list[str]]:
    handler = _Errors()
    logging.getLogger().addHandler(handler)
    try:
        yield handler.texts
    finally:
        logging.getLogger().removeHandler(handler)


def check_conversation(example: Example) -> None:
    """Hold the conversation with the keys in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name, key in KEYS.items():
            patch.setenv(name, key)
        _check_conversation(example)


def _check_conversation(example: Example) -> None:
    """Check that it ends in time, and that what it leaves can be kept and reported."""
    printed = io.StringIO()
    with limit_time(), _keep_errors() as logged, redirect_stderr(printed), redirect_stdout(printed):
        talk = example.converse()
        code = print_error(talk.error, debug=False) if talk.error is not None else 0
        lines = [encode(entry) for entry in talk.timeline]
        assert [encode(decode(line)) for line in lines] == lines
        result = SessionResult(talk.timeline, None, example.profile)
        print(result.as_json())
        result.print_lines()
        for follow in (TurnLines(print), PlainLines(print, MIDNIGHT, example.profile.budgets)):
            for entry in talk.timeline:
                follow(entry)
        print(*lines, sep="\n")
    assert not isinstance(talk.error, TimeoutError), f"hangs: {talk.timeline[-5:]}"
    if code == 70 and talk.error is not None:
        raise talk.error
    check_exit(code, printed.getvalue())
    assert not logged, logged
