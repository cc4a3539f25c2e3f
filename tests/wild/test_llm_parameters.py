"""Chat servers that refuse a field of the request by name."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.chat_server import refusing, sending
from tests.wild.llm import ChatCase, refusing_fields

KIND = "a chat server refuses a field"

COMPLETION = '{"choices": [{"message": {"content": "Whole."}, "finish_reason": "stop"}]}'


def error(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", **more}}


def forbidden(*names: str) -> list[dict[str, Any]]:
    """What FastAPI says of fields that it does not know."""
    return [
        {"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted"}
        for name in names
    ]


def case(name: str, before: str, after: str, answer: Any, **settings: Any) -> ChatCase:
    return ChatCase(KIND, name, before, after, answer, settings)


# Sources: github.com/dnakov/anon-kode/issues/53 and github.com/Gitlawb/openclaude/issues/739
# (Mistral), github.com/modelscope/ms-agent/issues/489 (vLLM), github.com/FlowiseAI/Flowise/issues/
# 2866 (Fireworks), github.com/microsoft/semantic-kernel/issues/10510 (GitHub Models),
# github.com/simonw/llm/issues/724 (OpenAI o1).
CASES = [
    case(
        "stream_options, in a sentence",
        (
            "error 5: LLM: a setting is refused (HTTP 400: stream_options is not "
            "supported). Check `llm` in the profile."
        ),
        (
            'says "Hi."; warns: the server does not take `stream_options`, which is '
            "left out. Set `llm.extra: {stream_options: null}`."
        ),
        refusing_fields("stream_options", body=error("stream_options is not supported")),
    ),
    case(
        "stream_options, Mistral (422)",
        "error 5: LLM: HOST refuses the request (HTTP 422)",
        (
            'says "Hi."; warns: the server does not take `stream_options`, which is '
            "left out. Set `llm.extra: {stream_options: null}`."
        ),
        refusing_fields(
            "stream_options",
            status="422 Unprocessable Entity",
            body={
                "object": "error",
                "message": {
                    "detail": [
                        {
                            "type": "extra_forbidden",
                            "loc": ["body", "stream_options", "include_usage"],
                            "msg": "Extra inputs are not permitted",
                            "input": True,
                        }
                    ]
                },
                "type": "invalid_request_error",
                "param": None,
                "code": None,
            },
        ),
    ),
    case(
        "stream_options, vLLM of 2024",
        (
            "error 5: LLM: a setting is refused (HTTP 400: [{'type': 'extra_forbidden', "
            "'loc': ('body', 'stream_options'), 'msg': 'Extra inputs are not …"
        ),
        (
            'says "Hi."; warns: the server does not take `stream_options`, which is '
            "left out. Set `llm.extra: {stream_options: null}`."
        ),
        refusing_fields(
            "stream_options",
            body={
                "object": "error",
                "message": "[{'type': 'extra_forbidden', 'loc': ('body', 'stream_options'), "
                "'msg': 'Extra inputs are not permitted', 'input': {}}]",
                "type": "BadRequestError",
                "param": None,
                "code": 400,
            },
        ),
    ),
    case(
        "stream_options, Fireworks",
        (
            "error 5: LLM: a setting is refused (HTTP 400: Extra inputs are not "
            "permitted, field: 'stream_options'). Check `llm` in the profile."
        ),
        (
            'says "Hi."; warns: the server does not take `stream_options`, which is '
            "left out. Set `llm.extra: {stream_options: null}`."
        ),
        refusing_fields(
            "stream_options",
            body=error("Extra inputs are not permitted, field: 'stream_options'"),
        ),
    ),
    case(
        "stream_options, GitHub Models",
        (
            "error 5: LLM: a setting is refused (HTTP 400: Validation error at "
            "#/stream_options: Extra inputs are not permitted). Check `llm` in the pro…"
        ),
        (
            'says "Hi."; warns: the server does not take `stream_options`, which is '
            "left out. Set `llm.extra: {stream_options: null}`."
        ),
        refusing_fields(
            "stream_options",
            body=error(
                "Validation error at #/stream_options: Extra inputs are not permitted", code=400
            ),
        ),
    ),
    case(
        "stream_options, Google",
        "error 5: LLM: a setting is refused (HTTP 400). Check `llm` in the profile.",
        (
            'says "Hi."; warns: the server does not take `stream_options`, which is '
            "left out. Set `llm.extra: {stream_options: null}`."
        ),
        refusing_fields(
            "stream_options",
            body=[
                {
                    "error": {
                        "code": 400,
                        "message": 'Invalid JSON payload received. Unknown name "stream_options": '
                        "Cannot find field.",
                        "status": "INVALID_ARGUMENT",
                    }
                }
            ],
        ),
    ),
    case(
        "max_completion_tokens, Mistral (422)",
        "error 5: LLM: HOST refuses the request (HTTP 422)",
        (
            'says "Hi."; warns: the server does not take `max_completion_tokens`; '
            "`max_tokens` replaces it. Set `llm.max_tokens_name: max_tokens`."
        ),
        refusing_fields(
            "max_completion_tokens",
            status="422 Unprocessable Entity",
            body={"detail": forbidden("max_completion_tokens")},
        ),
    ),
    case(
        "two fields at once",
        "error 5: LLM: HOST refuses the request (HTTP 422)",
        (
            'says "Hi."; warns: the server does not take `stream_options`, which is '
            "left out. Set `llm.extra: {stream_options: null}`.; warns: the server does "
            "not take `max_completion_tokens`; `max_tokens` replaces it. Set "
            "`llm.max_tokens_name: max_tokens`."
        ),
        refusing_fields(
            "max_completion_tokens",
            "stream_options",
            status="422 Unprocessable Entity",
            body={"detail": forbidden("stream_options", "max_completion_tokens")},
        ),
    ),
    case(
        "max_tokens, OpenAI o1",
        (
            "error 5: LLM: a setting is refused (HTTP 400: Unsupported parameter: "
            "'max_tokens' is not supported with this model. Use 'max_completion_tok…"
        ),
        (
            'says "Hi."; warns: the server does not take `max_tokens`; '
            "`max_completion_tokens` replaces it. Set `llm.max_tokens_name: "
            "max_completion_tokens`."
        ),
        refusing_fields(
            "max_tokens",
            body=error(
                "Unsupported parameter: 'max_tokens' is not supported with this model. "
                "Use 'max_completion_tokens' instead.",
                param="max_tokens",
                code="unsupported_parameter",
            ),
        ),
        max_tokens_name="max_tokens",
    ),
    case(
        "both names of the limit",
        (
            "error 5: LLM: a setting is refused (HTTP 400: Unrecognized request "
            "argument supplied: max_completion_tokens). Check `llm.max_tokens` and `l…"
        ),
        (
            'says "Hi."; warns: the server does not take `max_completion_tokens`; '
            "`max_tokens` replaces it. Set `llm.max_tokens_name: max_tokens`.; warns: "
            "the server does not take `max_tokens`, which is left out. Set `llm.extra: "
            "{max_tokens: null}`."
        ),
        refusing_fields(
            "max_tokens",
            "max_completion_tokens",
            body=lambda name: error(f"Unrecognized request argument supplied: {name}"),
        ),
    ),
    case(
        "temperature, OpenAI gpt-5",
        (
            "error 5: LLM: a setting is refused (HTTP 400: Unsupported value: "
            "'temperature' does not support 0.4 with this model. Only the default (1) v…"
        ),
        (
            'says "Hi."; warns: the server does not take `temperature`, which is left '
            "out. Set `llm.temperature: null`."
        ),
        refusing_fields(
            "temperature",
            body=error(
                "Unsupported value: 'temperature' does not support 0.4 with this model. "
                "Only the default (1) value is supported.",
                param="temperature",
                code="unsupported_value",
            ),
        ),
    ),
    case(
        "a field of llm.extra, Groq",
        (
            "error 5: LLM: a setting is refused (HTTP 400: property 'reasoning_effort' "
            "is unsupported). Check `llm` in the profile."
        ),
        (
            'says "Hi."; warns: the server does not take `reasoning_effort`, which is '
            "left out. Remove it from `llm.extra`."
        ),
        refusing_fields(
            "reasoning_effort", body=error("property 'reasoning_effort' is unsupported")
        ),
        extra={"reasoning_effort": "low"},
    ),
    case(
        "stream, OpenAI o1 of 2024",
        (
            "error 5: LLM: a setting is refused (HTTP 400: Unsupported value: 'stream' "
            "does not support true with this model. Only the default (false) v…"
        ),
        (
            'says "Whole."; warns: the server does not take `stream`, which is left '
            "out. Set `llm.extra: {stream: null}`."
        ),
        refusing_fields(
            "stream",
            body=error(
                "Unsupported value: 'stream' does not support true with this model. "
                "Only the default (false) value is supported.",
                param="stream",
                code="unsupported_value",
            ),
            then=sending(COMPLETION, Content_Type="application/json"),
        ),
    ),
    case(
        "one field after the other",
        (
            "error 5: LLM: a setting is refused (HTTP 400: Unknown parameter: "
            "'stream_options'.). Check `llm` in the profile."
        ),
        (
            'says "Hi."; warns: the server does not take `stream_options`, which is '
            "left out. Set `llm.extra: {stream_options: null}`.; warns: the server does "
            "not take `temperature`, which is left out. Set `llm.temperature: null`."
        ),
        refusing_fields(
            "stream_options",
            "temperature",
            body=lambda name: error(f"Unknown parameter: '{name}'.", param=name),
        ),
    ),
    case(
        "nothing that was sent",
        (
            "error 5: LLM: a setting is refused (HTTP 400: Unsupported parameter: "
            "'top_k'.). Check `llm` in the profile."
        ),
        (
            "error 5: LLM: a setting is refused (HTTP 400: Unsupported parameter: "
            "'top_k'.). Check `llm` in the profile."
        ),
        refusing("400 Bad Request", error("Unsupported parameter: 'top_k'.", param="top_k")),
    ),
    case(
        "a value, not a field",
        (
            "error 5: LLM: a setting is refused (HTTP 400: Invalid value for "
            "'temperature': expected 0 to 0.3.). Check `llm` in the profile."
        ),
        (
            "error 5: LLM: a setting is refused (HTTP 400: Invalid value for "
            "'temperature': expected 0 to 0.3.). Check `llm.temperature` in the profile."
        ),
        refusing(
            "400 Bad Request",
            error("Invalid value for 'temperature': expected 0 to 0.3.", param="temperature"),
        ),
    ),
    case(
        "a limit that is too high",
        (
            "error 5: LLM: a setting is refused (HTTP 400: max_completion_tokens is too "
            "large: 60. This model supports at most 50.). Check `llm.max_toke…"
        ),
        (
            "error 5: LLM: a setting is refused (HTTP 400: max_completion_tokens is too "
            "large: 60. This model supports at most 50.). Check `llm.max_tokens` and "
            "`llm.max_tokens_name` in the profile."
        ),
        refusing(
            "400 Bad Request",
            error("max_completion_tokens is too large: 60. This model supports at most 50."),
        ),
    ),
    case(
        "no field by name",
        (
            "error 5: LLM: a setting is refused (HTTP 400: Invalid request.). Check "
            "`llm` in the profile."
        ),
        (
            "error 5: LLM: a setting is refused (HTTP 400: Invalid request.). Check "
            "`llm` in the profile."
        ),
        refusing("400 Bad Request", error("Invalid request.")),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_refused_field_is_left_out_or_the_refusal_explained(case: ChatCase) -> None:
    assert case.outcome() == case.after
