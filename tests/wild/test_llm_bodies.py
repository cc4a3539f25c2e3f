"""Answers with status 200 that are no stream of chunks, or not of the type they say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.chat_server import Answer, delta, refusing, sending
from tests.wild.llm import ChatCase

KIND = "a chat server sends no stream"

PORTAL = """<!DOCTYPE html>
<html><head><title>Sign in to Hotel&nbsp;Wi-Fi</title></head><body>…</body></html>"""


def completion(**message: Any) -> str:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 12, "completion_tokens": 3}
    return json.dumps({"object": "chat.completion", "choices": [choice], "usage": usage}, indent=1)


def chunks(end: str = "\n\n") -> str:
    frames = [json.dumps(delta(content="Hi.")), json.dumps(delta("stop")), "[DONE]"]
    return "".join(f"data: {frame}{end}" for frame in frames)


def case(name: str, before: str, after: str, answer: Answer) -> ChatCase:
    return ChatCase(KIND, name, before, after, answer)


CASES = [
    case(
        "the page of a captive portal",
        "error 5, temporary: LLM: the reply broke off",
        (
            "error 5: LLM: HOST answers with a web page (text/html: Sign in to Hotel "
            "Wi-Fi). Check `llm.base_url`, the proxy and the network's sign-in."
        ),
        sending(PORTAL, Content_Type="text/html"),
    ),
    case(
        "a page without title or type",
        "error 5, temporary: LLM: the reply broke off",
        (
            "error 5: LLM: HOST answers with a web page (It works!). Check "
            "`llm.base_url`, the proxy and the network's sign-in."
        ),
        sending("<h1>It works!</h1>", Content_Type=""),
    ),
    case(
        "a redirect to a captive portal",
        "error 5: LLM: HOST refuses the request (HTTP 302)",
        (
            "error 5: LLM: HOST redirects the request (HTTP 302: to "
            "portal.hotel.example). Check `llm.base_url`, the proxy and the network's "
            "sign-in."
        ),
        refusing("302 Found", b"", Location="http://portal.hotel.example/login?session=1"),
    ),
    case(
        "a redirect to nowhere",
        "exits with 70: KeyError",
        (
            "error 5: LLM: HOST redirects the request (HTTP 302). Check `llm.base_url`, the "
            "proxy and the network's sign-in."
        ),
        refusing("302 Found", b""),
    ),
    case(
        "a refusal that breaks off",
        "exits with 70: RemoteProtocolError",
        (
            "error 5, temporary: LLM: the connection to HOST failed (peer closed connection "
            "without sending complete message body (received 0 bytes, expected 7)). Check the "
            "network and `llm.base_url`."
        ),
        sending("", status="500 Internal Server Error", Content_Length="7"),
    ),
    case(
        "a redirect to no URL",
        "exits with 70: ValueError",
        (
            "error 5: LLM: HOST redirects the request (HTTP 307). Check `llm.base_url`, the "
            "proxy and the network's sign-in."
        ),
        refusing("307 Temporary Redirect", b"", Location="http://["),
    ),
    case(
        "a whole completion",
        "error 5, temporary: LLM: the reply broke off",
        'says "Hi there."',
        sending(completion(content="Hi there."), Content_Type="application/json"),
    ),
    case(
        "a whole completion in parts",
        "error 5, temporary: LLM: the reply broke off",
        'says "Hi there."',
        sending(
            completion(
                content=[
                    {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
                    {"type": "text", "text": "Hi "},
                    {"type": "text", "text": "there."},
                ]
            ),
            Content_Type="application/json",
        ),
    ),
    case(
        "a whole completion, said to be a stream",
        "error 5, temporary: LLM: the reply broke off",
        'says "Hi there."',
        sending(completion(content="Hi there.")),
    ),
    case(
        "a completion of the older kind",
        "error 5, temporary: LLM: the reply broke off",
        'says "Hi."',
        sending(
            '{"choices": [{"text": "Hi.", "finish_reason": "stop"}]}',
            Content_Type="application/json",
        ),
    ),
    case(
        "Ollama's own API, JSON lines",
        "error 5, temporary: LLM: the reply broke off",
        (
            "error 5: LLM: HOST answers with something that is no reply "
            "(application/x-ndjson: "
            '{"model":"m","message":{"role":"assistant","content":"Hi"},"done":false} '
            '{"model":"m","message":{"role":"assistant","content":""},"done":true}). '
            "Check `llm.base_url`; …"
        ),
        sending(
            '{"model":"m","message":{"role":"assistant","content":"Hi"},"done":false}\n'
            '{"model":"m","message":{"role":"assistant","content":""},"done":true}\n',
            Content_Type="application/x-ndjson",
        ),
    ),
    case(
        "JSON of another kind",
        "error 5, temporary: LLM: the reply broke off",
        (
            "error 5: LLM: HOST answers with something that is no reply "
            '(application/json: {"status": "ok"}). Check `llm.base_url`; most servers '
            "want it to end in /v1."
        ),
        sending('{"status": "ok"}', Content_Type="application/json"),
    ),
    case(
        "an error with status 200",
        "error 5, temporary: LLM: the reply broke off",
        ("error 5, temporary: LLM: HOST failed (HTTP 502: Upstream is down.). Try again later."),
        sending(
            '{"error": {"code": 502, "message": "Upstream is down."}}',
            Content_Type="application/json",
        ),
    ),
    case(
        "plain text",
        "error 5, temporary: LLM: the reply broke off",
        (
            "error 5: LLM: HOST answers with something that is no reply (text/plain: "
            "Ollama is running). Check `llm.base_url`; most servers want it to end in "
            "/v1."
        ),
        sending("Ollama is running", Content_Type="text/plain"),
    ),
    case(
        "nothing",
        "error 5, temporary: LLM: the reply broke off",
        (
            "error 5, temporary: LLM: HOST sent an empty reply. Check `llm.base_url`; "
            "most servers want it to end in /v1."
        ),
        sending(""),
    ),
    case(
        "nothing but white space",
        "error 5, temporary: LLM: the reply broke off",
        (
            "error 5, temporary: LLM: HOST sent an empty reply. Check `llm.base_url`; "
            "most servers want it to end in /v1."
        ),
        sending(" \n\n"),
    ),
    case(
        "a stream without chunks",
        "error 5, temporary: LLM: the reply broke off",
        "empty",
        sending(": ping\n\ndata: [DONE]\n\n"),
    ),
    case(
        "compressed, as it says, but not",
        (
            "error 5, temporary: LLM: the connection to HOST failed (Error -3 while "
            "decompressing data: incorrect header check). Check the network and `…"
        ),
        (
            "error 5: LLM: HOST answers with something that is no reply "
            "(text/event-stream: not compressed: Error -3 while decompressing data: "
            "incorrect header check). Check `llm.base_url`; most servers want it to end "
            "in /v1."
        ),
        sending(chunks(), Content_Encoding="gzip"),
    ),
    case(
        "a stream of another type",
        'says "Hi."',
        'says "Hi."',
        sending(chunks(), Content_Type="application/json"),
    ),
    case("a stream without a type", 'says "Hi."', 'says "Hi."', sending(chunks(), Content_Type="")),
    case("lines that end with CR LF", 'says "Hi."', 'says "Hi."', sending(chunks("\r\n\r\n"))),
    case("lines that end with CR", 'says "Hi."', 'says "Hi."', sending(chunks("\r\r"))),
    case(
        "no empty lines between the chunks",
        "error 5, temporary: LLM: the reply broke off",
        'says "Hi."',
        sending(chunks("\n")),
    ),
    case("a byte order mark first", "empty", 'says "Hi."', sending("\ufeff" + chunks())),
    case(
        "no space after data:",
        'says "Hi."',
        'says "Hi."',
        sending(chunks().replace("data: ", "data:")),
    ),
    case(
        "a chunk over several lines",
        'says "Hi."; error 5, temporary: LLM: the reply broke off',
        'says "Hi."',
        sending(
            'data: {"choices": [\ndata: {"delta": {"content": "Hi."}}\ndata: ]}\n\ndata: [DONE]\n\n'
        ),
    ),
    case(
        "a line separator within a word",
        'says "a\u2028b\x85c"; error 5, temporary: LLM: the reply broke off',
        'says "a\u2028b\x85c"',
        sending('data: {"choices":[{"delta":{"content":"a\u2028b\u0085c"}}]}\n\ndata: [DONE]\n\n'),
    ),
    case("the last empty line is missing", 'says "Hi."', 'says "Hi."', sending(chunks().rstrip())),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_came_is_spoken_or_named(case: ChatCase) -> None:
    assert case.outcome() == case.after
