"""A whole turn with each chat server that the README lists, and a wrong key."""

from __future__ import annotations

import pytest

from tests.support.chat_server import ask
from tests.support.conversations import converse, profile
from tests.support.speech_like import alternate_speech
from tests.wild import Case
from tests.wild.llm_servers import KEY, SERVERS, WORDS, ChatServer
from voicecli.errors import RefusedError
from voicecli.events import ReplyFinished, Warned
from voicecli.metrics.summary import Budgets
from voicecli.report.turn_lines import list_marks
from voicecli.standin.script import Script

KIND = "a chat server's dialect"

CASES = [
    Case(KIND, server.name, "answers; a cut reply is not named", "answers; a cut reply is named")
    for server in SERVERS
]

SPEECH, _ = alternate_speech(0.5, 1.2, 6.0)


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name)
@pytest.mark.parametrize("limit", [60, 3])
def test_a_turn_is_spoken_counted_and_limited(server: ChatServer, limit: int) -> None:
    settings = {"max_tokens": limit, **server.settings}
    overrides = [f"llm.{name}={value}" for name, value in settings.items()]
    talk = converse(
        profile("standin.require_key=true", *overrides),
        Script(),
        SPEECH,
        chat=server.answer,
    )
    assert talk.error is None
    finished = talk.one(ReplyFinished)
    expected = min(limit, len(WORDS))
    assert finished.tokens == expected
    assert finished.truncated == ("length" if expected < len(WORDS) else None)
    assert ("reply cut: limit of tokens" in list_marks(talk.turns[0], Budgets())) == (
        expected < len(WORDS)
    )
    assert talk.all(Warned) == []


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name)
def test_a_limit_that_is_ignored_is_a_warning_once(server: ChatServer) -> None:
    first, second = ask(server.answer, times=2, key=KEY, max_tokens=3)
    expected = []
    if server.settings:
        known = "`max_completion_tokens`. Try `llm.max_tokens_name: max_tokens`."
        expected = [f"the server ignores {known}"]
    assert (first.warnings, second.warnings) == (expected, [])


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name)
def test_a_wrong_key_is_refused_by_all_that_check_it(server: ChatServer) -> None:
    (outcome,) = ask(server.answer, key="wrong")
    assert isinstance(outcome.error, RefusedError) == (server.key_refusal is not None)
