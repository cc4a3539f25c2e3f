"""Replies that hold no ordinary text, and the ways in which servers end a stream."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.support.chat_server import (
    HEAD,
    Answer,
    Request,
    chunk,
    delta,
    refusing,
    sending,
    streaming,
)
from tests.support.conversations import Conversation, converse, profile
from tests.support.speech_like import alternate_speech
from tests.wild.llm import ChatCase
from voicecli.events import ReplyFinished
from voicecli.metrics.summary import Budgets
from voicecli.metrics.usage import count_usage
from voicecli.report.turn_lines import list_marks
from voicecli.standin.script import Script
from voicecli.timeline import decode, encode

KIND = "a chat server's reply has no text, or no proper end"


def case(name: str, before: str, after: str, answer: Answer, **settings: Any) -> ChatCase:
    return ChatCase(KIND, name, before, after, answer, settings)


def calls(name: str) -> dict[str, Any]:
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": name}}
    return delta(tool_calls=[call])


def arguments(text: str) -> dict[str, Any]:
    return delta(tool_calls=[{"index": 0, "function": {"arguments": text}}])


def frames(*events: object) -> str:
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events)


async def finish_on_every_chunk(request: Request) -> None:
    """Finishes each chunk, as LiteLLM did (github.com/BerriAI/litellm/issues/376), and pauses."""
    await request.write(HEAD)
    for word in ("One ", "two ", "three ", "four."):
        await request.event(delta("stop", content=word))
        await asyncio.sleep(0.4)
    await asyncio.sleep(0.4)
    await request.event(delta("stop", content=" Five."))
    await request.done()


WELL = delta(content="Well")

# Sources: github.com/ollama/ollama/issues/4357 (an empty finish_reason), github.com/alfredapp/
# openai-workflow/pull/52 (none), github.com/vllm-project/vllm/issues/27572 (null),
# github.com/livekit/agents/issues/5934 (a model that thinks uses up the tokens).
CASES = [
    case(
        "a refusal",
        "empty",
        'says "I can\'t help with that."',
        streaming(delta(refusal="I can't "), delta(refusal="help with that."), delta("stop")),
    ),
    case(
        "a refusal, not streamed",
        "error 5, temporary: LLM: the reply broke off",
        'says "I can\'t."',
        sending(
            '{"choices": [{"message": {"content": null, "refusal": "I can\'t."}}]}',
            Content_Type="application/json",
        ),
    ),
    case(
        "a tool call",
        "empty",
        (
            "error 5: LLM: the model calls the tool get_weather, and there are none. "
            "Change `llm.model` or `llm.system_prompt`."
        ),
        streaming(
            calls("get_weather"), arguments('{"city":'), arguments('"Rome"}'), delta("tool_calls")
        ),
    ),
    case(
        "a tool call, with tools in llm.extra",
        "empty",
        (
            "error 5: LLM: the model calls the tool get_weather, and there are none. "
            "Remove `tools` from `llm.extra`."
        ),
        streaming(calls("get_weather"), delta("tool_calls")),
        extra={"tools": []},
    ),
    case(
        "a function call of the older kind",
        "empty",
        (
            "error 5: LLM: the model calls the tool look_up, and there are none. Change "
            "`llm.model` or `llm.system_prompt`."
        ),
        streaming(
            delta(function_call={"name": "look_up", "arguments": ""}), delta("function_call")
        ),
    ),
    case(
        "text, then a tool call",
        'says "One moment."',
        ('says "One moment."; warns: the model calls the tool get_weather, and there are none'),
        streaming(delta(content="One moment."), calls("get_weather"), delta("tool_calls")),
    ),
    case(
        "white space only",
        'says "   "',
        "empty",
        streaming(delta(content=" "), delta(content="\n\n"), delta("stop")),
    ),
    case(
        "white space first",
        'says "  Hi."',
        'says "Hi."',
        streaming(delta(content="\n\n"), delta("stop", content="Hi.")),
    ),
    case(
        "[DONE] without a finish_reason",
        'says "Well."; error 5, temporary: LLM: the reply broke off',
        'says "Well."',
        streaming(WELL, delta(content=".")),
    ),
    case(
        "finish_reason null, then [DONE]",
        'says "Well."; error 5, temporary: LLM: the reply broke off',
        'says "Well."',
        streaming(
            *(delta(content=one) for one in ("Well", ".")), chunk(choices=[{"finish_reason": None}])
        ),
    ),
    case(
        "an empty finish_reason",
        'says "Well."; error 5, temporary: LLM: the reply broke off',
        'says "Well."',
        streaming(delta("", content="Well"), delta("", content=".")),
    ),
    case(
        "neither, but a proper end",
        'says "Well."; error 5, temporary: LLM: the reply broke off',
        'says "Well."',
        sending(frames(WELL, delta(content="."))),
    ),
    case(
        "neither, and no length",
        'says "Well"; error 5, temporary: LLM: the reply broke off',
        'says "Well"; error 5, temporary: LLM: the reply broke off',
        sending(frames(WELL), Content_Length=""),
    ),
    case(
        "cut within a chunk",
        (
            'says "Well"; error 5, temporary: LLM: the connection to HOST failed (peer '
            "closed connection without sending complete message body (received…"
        ),
        (
            'says "Well"; error 5, temporary: LLM: the connection to HOST failed (peer '
            "closed connection without sending complete message body (received 201 "
            "bytes, expected 9999)). Check the network and `llm.base_url`."
        ),
        sending(frames(WELL) + 'data: {"cho', Content_Length="9999"),
    ),
    case(
        "length",
        'says "It is a"',
        'says "It is a"; cut: length',
        streaming(delta(content="It is a"), delta("length")),
    ),
    case(
        "content_filter",
        'says "It is"',
        'says "It is"; cut: content_filter',
        streaming(delta(content="It is"), delta("content_filter")),
    ),
    case(
        "length, in Anthropic's words",
        'says "It is a"',
        'says "It is a"; cut: length',
        streaming(delta("max_tokens", content="It is a")),
    ),
    case(
        "content_filter, in Google's words",
        'says "It is"',
        'says "It is"; cut: content_filter',
        streaming(delta("SAFETY", content="It is")),
    ),
    case(
        "an end of another name",
        'says "Hi."',
        'says "Hi."',
        streaming(delta("eos_token", content="Hi.")),
    ),
    case(
        "length before the first word",
        "empty",
        (
            "error 5: LLM: the limit of 60 tokens was reached before the first word. "
            "Raise `llm.max_tokens`, or have the model think less (`llm.extra`)."
        ),
        streaming(delta(reasoning_content="Let me think"), delta("length")),
    ),
    case(
        "content_filter before the first word",
        "empty",
        "error 5: LLM: a content filter withheld the reply",
        streaming(delta("content_filter")),
    ),
    case(
        "a finish_reason of error",
        'says "Well"',
        ('says "Well"; error 5, temporary: LLM: the reply broke off (it does not say why)'),
        streaming(WELL, delta("error")),
    ),
    case(
        "a finish_reason in every chunk",
        'says "One two three four."',
        'says "One two three four. Five."',
        finish_on_every_chunk,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_was_said_is_spoken_and_the_rest_named(case: ChatCase) -> None:
    assert case.outcome() == case.after


# ── in a conversation ────────────────────────────────────────────────────────


def turn_with(answer: Answer, *settings: str) -> Conversation:
    speech, _ = alternate_speech(0.5, 1.2, 6.0)
    return converse(profile(*settings), Script(), speech, chat=answer)


@pytest.mark.parametrize(
    ("finish", "mark"),
    [
        ("length", "reply cut: limit of tokens"),
        ("content_filter", "reply cut: content filter"),
        ("stop", None),
    ],
)
def test_a_reply_that_was_cut_says_so_in_its_turn(finish: str, mark: str | None) -> None:
    talk = turn_with(streaming(delta(content="It is a quiet town."), delta(finish)))
    finished, (turn,) = talk.one(ReplyFinished), talk.turns
    assert finished.truncated == turn.truncated == (finish if mark else None)
    assert decode(encode(finished)) == finished
    assert [one for one in list_marks(turn, Budgets()) if one.startswith("reply cut")] == (
        [mark] if mark else []
    )
    assert turn.outcome == "answered"
    assert count_usage(talk.timeline, talk.turns).truncated == (mark is not None)


def test_white_space_is_tried_again_like_an_empty_reply() -> None:
    asked = 0

    async def answer(request: Request) -> None:
        nonlocal asked
        asked += request.line.startswith("POST")
        words = (
            [delta(content=" \n"), delta("stop")] if asked == 1 else [delta("stop", content="Hi.")]
        )
        await streaming(*words)(request)

    talk = turn_with(answer, "llm.hedge_ms=null")
    (turn,) = talk.turns
    assert (turn.outcome, turn.said, turn.retries) == ("answered", "Hi.", 1)


def test_a_tool_call_is_named_apologised_for_and_the_conversation_goes_on() -> None:
    talk = turn_with(streaming(calls("get_weather"), delta("tool_calls")))
    (turn,) = talk.turns
    assert talk.error is None
    assert turn.failure is not None
    assert "the model calls the tool get_weather" in turn.failure.reason
    assert turn.retries == 0


def test_a_declined_prompt_ends_the_turn_and_not_the_conversation() -> None:
    refusal = {"error": {"message": "Filtered.", "code": "content_filter"}}
    talk = turn_with(refusing("400 Bad Request", refusal))
    assert talk.error is None
    assert [turn.outcome for turn in talk.turns] == ["failed"]
