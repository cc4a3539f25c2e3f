"""OpenAI's models: when they end, and what they are asked without being refused."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from tests.support.chat_server import Server, address, delta, heard, reply_to, streaming
from voicecli import clock
from voicecli.errors import UsageError
from voicecli.events import Warned
from voicecli.profile import load_profile
from voicecli.services.openai.chat import open_chat
from voicecli.services.openai.models import (
    HOST,
    MODELS,
    NOTICE,
    check_model,
    choose_model,
    find_model,
    list_refused,
)
from voicecli.services.openai.request import ChatRequest
from voicecli.services.openai.settings import API_URL, ChatSettings

END = date(2027, 1, 14)


def warnings(model: str, today: date, **settings: Any) -> list[str]:
    return list(check_model(ChatSettings(model=model, **settings), today))


def fields(**settings: Any) -> dict[str, Any]:
    body = ChatRequest(ChatSettings(**settings), is_openai=True).build([])
    return {name: body.get(name) for name in ("temperature", "reasoning_effort")}


def test_a_model_is_warned_of_for_sixty_days_and_refused_from_its_end_on() -> None:
    assert warnings("gpt-4o-mini", END - NOTICE - timedelta(days=1)) == []
    assert warnings("gpt-4o-mini", date(2026, 11, 27)) == [
        "OpenAI shuts gpt-4o-mini down on 2027-01-14, in 48 days. "
        "Use gpt-6-luna: --profile luna, or set llm.model."
    ]
    assert "in 1 day." in warnings("gpt-4o-mini-2024-07-18", END - timedelta(days=1))[0]
    with pytest.raises(UsageError, match="OpenAI has shut gpt-4o-mini down on 2027-01-14") as found:
        warnings("gpt-4o-mini", END)
    assert "gpt-6-luna" in str(found.value.hint)


def test_unknown_models_and_those_without_an_end_are_left_alone() -> None:
    assert warnings("gpt-7-nova", date(2030, 1, 1)) == []
    assert warnings("gpt-6-luna", date(2030, 1, 1)) == []
    assert find_model("gpt-4o-mini-tts") is None


def test_every_replacement_is_a_model_without_an_end() -> None:
    for model in MODELS.values():
        if model.ends is not None:
            assert MODELS[model.replacement].ends is None


def test_a_model_that_reasons_is_asked_for_the_least_effort_it_knows() -> None:
    assert fields(model="gpt-6-luna")["reasoning_effort"] == "none"
    assert fields(model="gpt-5-mini")["reasoning_effort"] == "minimal"
    assert fields(model="gpt-4o-mini")["reasoning_effort"] is None
    assert fields(model="gpt-6-luna", extra={"reasoning_effort": "low"}) == {
        "temperature": 0.4,
        "reasoning_effort": "low",
    }
    assert fields(model="gpt-6-luna", extra={"reasoning_effort": None})["reasoning_effort"] is None


def test_what_the_model_would_refuse_is_left_out_and_told() -> None:
    request = ChatRequest(ChatSettings(model="gpt-5-mini", temperature=0.4), is_openai=True)
    assert "temperature" not in request.build([])
    assert request.advice == [
        "the server does not take `temperature`, which is left out. Set `llm.temperature: null`."
    ]
    chosen = ChatSettings(model="gpt-4o", extra={"reasoning_effort": "low"})
    request = ChatRequest(chosen, is_openai=True)
    assert "reasoning_effort" not in request.build([])
    assert request.advice == [
        "the server does not take `reasoning_effort`, which is left out. "
        "Remove it from `llm.extra`."
    ]
    assert ChatRequest(ChatSettings(model="gpt-5", temperature=1), is_openai=True).advice == []


def test_an_effort_that_the_model_does_not_know_is_an_error() -> None:
    with pytest.raises(UsageError, match="gpt-5-mini does not know `reasoning_effort: none`") as it:
        warnings("gpt-5-mini", date(2026, 11, 1), extra={"reasoning_effort": "none"})
    assert it.value.hint == "Set llm.extra to one of minimal, low, medium, high."


def test_settings_for_another_model_keep_what_it_accepts() -> None:
    luna = ChatSettings(
        model="gpt-6-luna", temperature=0.4, extra={"reasoning_effort": "none", "verbosity": "low"}
    )
    minimal = choose_model(luna, "gpt-5-mini")
    assert (minimal.model, minimal.temperature) == ("gpt-5-mini", None)
    assert minimal.extra == {"verbosity": "low"}  # so that it is asked for the least it knows
    assert warnings(minimal.model, date(2026, 10, 1), extra=minimal.extra) == []
    assert choose_model(luna, "gpt-5.1").extra == luna.extra
    assert choose_model(luna, "gpt-5.1").temperature == 0.4
    assert choose_model(luna, "gpt-4o").extra == {"verbosity": "low"}
    assert choose_model(luna, "qwen") == replace(luna, model="qwen")


@pytest.mark.parametrize("name", MODELS)
def test_no_model_of_openai_refuses_the_settings_chosen_for_it(name: str) -> None:
    for effort in ("none", "minimal", "low", "max"):
        chosen = choose_model(ChatSettings(extra={"reasoning_effort": effort}), name)
        assert list_refused(chosen) == []
        assert warnings(name, date(2026, 1, 1), extra=chosen.extra) == []


def test_another_server_may_have_models_of_the_same_name() -> None:
    _, server = reply_to(
        streaming(delta("stop", content="Hi")), model="gpt-5-mini", temperature=0.4, extra={}
    )
    (request,) = server.requests
    assert request.body["temperature"] == 0.4
    assert "reasoning_effort" not in request.body


def test_a_model_that_has_ended_opens_nothing() -> None:
    async def open_it(url: str) -> None:
        async with open_chat(ChatSettings(model="gpt-3.5-turbo"), address(url)):
            pass

    with pytest.raises(UsageError, match=r"OpenAI has shut gpt-3\.5-turbo down"):
        asyncio.run(open_it(API_URL))
    asyncio.run(open_it("http://localhost:9/v1"))
    assert HOST in API_URL


def test_the_profile_luna_is_accepted_and_sends_what_it_says() -> None:
    settings = load_profile("luna", environ={}).llm
    assert isinstance(settings, ChatSettings)
    assert warnings(settings.model, date(2026, 11, 27), extra=settings.extra) == []
    request = ChatRequest(settings, is_openai=True)
    assert request.advice == []
    body = request.build([])
    assert (body["model"], body["reasoning_effort"]) == ("gpt-6-luna", "none")
    assert "temperature" not in body
    assert body["stream_options"] == {"include_usage": True, "include_obfuscation": False}


def test_notes_are_told_once_with_the_first_reply() -> None:
    async def converse() -> list[list[str]]:
        told = []
        async with Server(streaming(delta("stop", content="Hi"))).chat() as llm:
            llm.notes.append("The end is near.")
            for _ in range(2):
                pieces = await heard(llm)
                told.append([one.text for one in pieces if isinstance(one, Warned)])
        return told

    assert clock.run(converse(), virtual=True) == [["The end is near."], []]
