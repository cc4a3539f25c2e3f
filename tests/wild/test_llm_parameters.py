"""Chat servers that refuse a field of the request by name."""

from __future__ import annotations

import asyncio
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.support.chat_server import Request, Server, ask, heard, refusing, sending
from tests.support.conversations import converse, profile
from tests.support.probes import scripted
from tests.support.speech_like import alternate_speech
from tests.wild.llm import HI, ChatCase, refusing_fields
from voicecli import clock
from voicecli.events import Warned
from voicecli.pipeline.wiring import open_services
from voicecli.probe.results import ProbeResults
from voicecli.probe.run import Probe
from voicecli.probe.schedule import Plan
from voicecli.services.interfaces import Piece
from voicecli.standin.script import Script

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


# ── for the rest of the session ──────────────────────────────────────────────


TEMPERATURE = refusing_fields(
    "temperature", body=error("Unsupported parameter: 'temperature'.", param="temperature")
)


def test_a_refused_field_is_not_sent_again_and_the_user_warned_once() -> None:
    first, second = ask(TEMPERATURE, times=2)
    assert ["temperature" in body for body in first.bodies] == [True, False]
    assert ["temperature" in body for body in second.bodies] == [False]
    assert (len(first.warnings), second.warnings) == (1, [])
    assert first.said == second.said == "Hi."


def test_requests_that_race_are_both_sent_again_and_the_user_warned_once() -> None:
    server = Server(TEMPERATURE)

    async def main() -> list[list[Piece]]:
        async with server.chat() as chat:
            return await asyncio.gather(heard(chat), heard(chat))

    replies = clock.run(main(), virtual=True)
    warnings = [piece for reply in replies for piece in reply if isinstance(piece, Warned)]
    assert len(warnings) == 1
    assert ["".join(one for one in reply if isinstance(one, str)) for reply in replies] == [
        "Hi.",
        "Hi.",
    ]
    assert ["temperature" in request.body for request in server.requests].count(False) == 2


def test_the_second_request_needs_no_second_connection() -> None:
    server = Server(TEMPERATURE)

    async def main() -> None:
        async with server.chat() as chat:
            await heard(chat)

    clock.run(main(), virtual=True)
    assert (len(server.requests), server.connections) == (2, 1)


def test_the_limit_keeps_its_value_under_its_other_name() -> None:
    refusal = error("Unknown parameter: 'max_completion_tokens'.", param="max_completion_tokens")
    (outcome,) = ask(refusing_fields("max_completion_tokens", body=refusal), max_tokens=7)
    assert outcome.bodies[1]["max_tokens"] == 7
    assert "max_completion_tokens" not in outcome.bodies[1]


@pytest.mark.parametrize(
    ("extra", "absent"),
    [
        ({"stream_options": None}, "stream_options"),
        ({"max_tokens": 9}, "max_completion_tokens"),
        ({"max_tokens": None}, "max_completion_tokens"),
        ({"temperature": None}, "temperature"),
        ({"seed": None}, "seed"),
    ],
)
def test_extra_fields_win_and_null_omits_one(extra: dict[str, Any], absent: str) -> None:
    (outcome,) = ask(HI, extra=extra)
    (body,) = outcome.bodies
    assert absent not in body
    assert {name: body.get(name) for name in extra} == extra


def test_a_server_that_refuses_for_ever_is_asked_once_for_each_field() -> None:
    names = ("stream_options", "max_completion_tokens", "max_tokens", "temperature", "stream")

    async def answer(request: Request) -> None:
        name = next((name for name in names if name in request.body), "model")
        await refusing("400 Bad Request", error(f"Unknown parameter: '{name}'."))(request)

    (outcome,) = ask(answer)
    assert len(outcome.bodies) == len(names) + 1
    assert "Unknown parameter: 'model'" in str(outcome.error)


def test_time_for_the_first_token_includes_the_refused_request() -> None:
    async def answer(request: Request) -> None:
        await asyncio.sleep(1.5)
        await TEMPERATURE(request)

    (outcome,) = ask(answer, first_token_timeout=2.0)
    assert str(outcome.error) == "LLM: no word within 2 s"


def test_a_date_in_extra_is_sent_as_text() -> None:
    (outcome,) = ask(HI, extra={"day": date(2026, 11, 26)})
    assert outcome.bodies[0]["day"] == "2026-11-26"


def test_a_turn_is_answered_and_its_line_says_what_the_server_refused() -> None:
    talk = converse(profile(), Script(), alternate_speech(0.5, 1.2, 6.0)[0], chat=TEMPERATURE)
    assert [turn.outcome for turn in talk.turns] == ["answered"]
    assert talk.turns[0].said == "Hi."
    (warned,) = talk.all(Warned)
    assert warned.service == "llm"
    assert "`llm.temperature: null`" in warned.text
    assert talk.turns[0].requests - talk.turns[0].hedges == 1


def test_the_probe_notes_what_the_server_refused(tmp_path: Path) -> None:
    async def main() -> ProbeResults:
        async with Server(TEMPERATURE).listen() as url:
            settings = scripted(tmp_path, {}, f"llm.base_url={url}")
            results = ProbeResults(wanted=("llm",))
            async with open_services(settings, environ={}) as services:
                await Probe(settings, services, results, Plan(count=2, cold=2, warmup=0)).run()
            return results

    results = clock.run(main(), virtual=True)
    (note,) = [note for note in results.notes if "temperature" in note]
    assert note.startswith("LLM: the server does not take `temperature`")
    assert results.failures == []
