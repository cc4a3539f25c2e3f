"""Chunks of a stream that are not as OpenAI sends them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.chat_server import USAGE, chunk, delta, sending, streaming
from tests.wild.llm import ChatCase
from tests.wild.test_llm_replies import frames

KIND = "a chat server's chunks are odd"


def case(name: str, before: str, after: str, *odd: Any) -> ChatCase:
    """A stream with ``odd`` within."""
    answer = streaming(delta(content="Hi "), *odd, delta("stop", content="there."), USAGE)
    return ChatCase(KIND, name, before, after, answer)


def raw(name: str, before: str, after: str, odd: str) -> ChatCase:
    """A stream with the bytes ``odd`` within."""
    parts = [frames(delta(content="Hi ")), odd, frames(delta("stop", content="there."), USAGE)]
    return ChatCase(KIND, name, before, after, sending("".join(parts) + "data: [DONE]\n\n"))


FILTERED = {"hate": {"filtered": False, "severity": "safe"}}

# Sources: openrouter.ai/docs/api/reference/streaming (comments, errors in the stream),
# github.com/microsoft/autogen/issues/6465 (Azure: a choice without delta),
# github.com/run-llama/llama_index/issues/8995 (Azure: no choices),
# github.com/vllm-project/vllm, entrypoints/openai/serving_engine.py (an error in the stream).
CASES = [
    raw(
        "keep-alive comments",
        'says "Hi there."',
        'says "Hi there."',
        ": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n",
    ),
    raw(
        "events, ids and retries",
        ('says "Hi "; error 5, temporary: LLM: the service sent something that is not JSON'),
        'says "Hi there."',
        "event: ping\nid: 7\nretry: 3000\n\n",
    ),
    raw("a field of no name", 'says "Hi there."', 'says "Hi there."', "hello\n\n"),
    case(
        "no choices",
        'says "Hi there."',
        (
            'says "Hi there."; warns: skipped a chunk that is not understood: {"id": '
            '"", "model": "", "prompt_filter_results": []}'
        ),
        {"id": "", "model": "", "prompt_filter_results": []},
    ),
    case(
        "choices empty",
        'says "Hi there."',
        'says "Hi there."',
        chunk(prompt_filter_results=[FILTERED]),
    ),
    case("choices null", 'says "Hi there."', 'says "Hi there."', chunk(choices=None)),
    case(
        "choices of text",
        'says "Hi there."',
        (
            'says "Hi there."; warns: skipped a chunk that is not understood: {"id": '
            '"chatcmpl-1", "object": "chat.completion.chunk", "created": 1694268190, '
            '"model": "gpt-4o-mini", "choices": "none"}'
        ),
        chunk(choices="none"),
    ),
    case(
        "a choice that is a number",
        'says "Hi there."',
        (
            'says "Hi there."; warns: skipped a chunk that is not understood: {"id": '
            '"chatcmpl-1", "object": "chat.completion.chunk", "created": 1694268190, '
            '"model": "gpt-4o-mini", "choices": [5]}'
        ),
        chunk(choices=[5]),
    ),
    case(
        "a choice without a delta",
        'says "Hi there."',
        'says "Hi there."',
        chunk(choices=[{"content_filter_results": FILTERED}]),
    ),
    case(
        "a delta of null",
        'says "Hi there."',
        'says "Hi there."',
        chunk(choices=[{"delta": None, "finish_reason": None}]),
    ),
    case(
        "a delta of text",
        'says "Hi there."',
        ('says "Hi there."; warns: skipped a chunk that is not understood: {"delta": "Hi"}'),
        chunk(choices=[{"delta": "Hi"}]),
    ),
    case(
        "content of null",
        'says "Hi there."',
        'says "Hi there."',
        delta(role="assistant", content=None),
    ),
    case(
        "content that is a number",
        'says "Hi there."',
        'says "Hi there."; warns: skipped a chunk that is not understood: 5',
        delta(content=5),
    ),
    case(
        "content in parts",
        'says "Hi there."',
        'says "Hi you there."',
        delta(content=[{"type": "text", "text": "you "}]),
    ),
    case(
        "reasoning",
        'says "Hi there."',
        'says "Hi there."',
        delta(reasoning_content="Hm.", reasoning="Hm."),
    ),
    case(
        "usage of null",
        'says "Hi there."',
        'says "Hi there."',
        chunk(usage={"prompt_tokens": None}),
    ),
    case("usage of text", 'says "Hi there."', 'says "Hi there."', chunk(usage="12")),
    case(
        "a list",
        'says "Hi there."',
        'says "Hi there."; warns: skipped a chunk that is not understood: [1, 2]',
        [1, 2],
    ),
    case(
        "a number",
        'says "Hi there."',
        'says "Hi there."; warns: skipped a chunk that is not understood: 5',
        5,
    ),
    case(
        "nothing in it",
        'says "Hi there."',
        'says "Hi there."; warns: skipped a chunk that is not understood: {}',
        {},
    ),
    case(
        "no JSON",
        ('says "Hi "; error 5, temporary: LLM: the service sent something that is not JSON'),
        'says "Hi there."; warns: skipped a chunk that is not understood: {half',
        "{half",
    ),
    case(
        "three odd ones",
        ('says "Hi "; error 5, temporary: LLM: the service sent something that is not JSON'),
        'says "Hi there."; warns: skipped a chunk that is not understood: {half',
        "{half",
        5,
        chunk(choices="none"),
    ),
    raw(
        "no UTF-8",
        ('says "Hi "; error 5, temporary: LLM: the service sent something that is not JSON'),
        'says "Hi there."; warns: skipped a chunk that is not understood: �',
        "data: \udcff\n\n",
    ),
    case(
        "a second choice beside the first",
        'says "Hi Byethere."',
        'says "Hi there."',
        chunk(choices=[{"index": 1, "delta": {"content": "Bye"}}]),
    ),
    case(
        "a chunk of another kind",
        'says "Hi there."',
        ('says "Hi there."; warns: skipped a chunk that is not understood: {"type": "ping"}'),
        {"type": "ping"},
    ),
    case(
        "an error, OpenRouter",
        ('says "Hi "; error 5, temporary: LLM: the reply broke off (Provider disconnected)'),
        (
            'says "Hi "; error 5, temporary: LLM: HOST failed (HTTP 502: Provider '
            "disconnected). Try again later."
        ),
        chunk(
            error={"code": 502, "message": "Provider disconnected"},
            choices=[{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
        ),
    ),
    case(
        "an error, vLLM",
        ('says "Hi "; error 5, temporary: LLM: the reply broke off (CUDA out of memory)'),
        (
            'says "Hi "; error 5, temporary: LLM: HOST failed (HTTP 500: CUDA out of '
            "memory). Try again later."
        ),
        {"error": {"object": "error", "message": "CUDA out of memory", "type": "x", "code": 500}},
    ),
    case(
        "an error without its envelope",
        'says "Hi there."',
        'says "Hi "; error 5, temporary: LLM: the reply broke off (No memory)',
        {"object": "error", "message": "No memory"},
    ),
    case(
        "an error, FastAPI",
        'says "Hi there."',
        'says "Hi "; error 5, temporary: LLM: the reply broke off (Worker died)',
        {"detail": "Worker died"},
    ),
    raw(
        "an event called error",
        'says "Hi there."',
        'says "Hi "; error 5, temporary: LLM: the reply broke off (Model is gone)',
        'event: error\ndata: {"message": "Model is gone"}\n\n',
    ),
    raw(
        "an event called error, no JSON",
        ('says "Hi "; error 5, temporary: LLM: the service sent something that is not JSON'),
        'says "Hi "; error 5, temporary: LLM: the reply broke off (Model is gone)',
        "event: error\ndata: Model is gone\n\n",
    ),
    case(
        "an error: the key",
        ('says "Hi "; error 5, temporary: LLM: the reply broke off (No auth credentials)'),
        (
            'says "Hi "; error 3: LLM: the key is refused (HTTP 401: No auth '
            "credentials). Check OPENAI_API_KEY."
        ),
        {"error": {"code": 401, "message": "No auth credentials"}},
    ),
    case(
        "an error: the rate",
        'says "Hi "; error 5, temporary: LLM: the reply broke off (Slow down)',
        (
            'says "Hi "; error 5, temporary: LLM: too many requests or tokens a minute '
            "(HTTP 429: Slow down). Try again later."
        ),
        {"error": {"code": 429, "message": "Slow down"}},
    ),
    case(
        "an error: credit",
        (
            'says "Hi "; error 5: LLM: the account has no credit left. Top it up; '
            "waiting does not help."
        ),
        (
            'says "Hi "; error 5: LLM: the account has no credit left (HTTP 429: Pay). '
            "Top it up; waiting does not help."
        ),
        {"error": {"code": "insufficient_quota", "message": "Pay"}},
    ),
    case("an error of null", 'says "Hi there."', 'says "Hi there."', chunk(error=None)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_odd_chunks_are_skipped_and_errors_named(case: ChatCase) -> None:
    assert case.outcome() == case.after
