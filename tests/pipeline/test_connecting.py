"""How a session that starts meets services that refuse for a while, or for good."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Literal

import pytest

from tests.support.conversations import Conversation, converse, profile
from tests.support.speech_like import alternate_speech
from voicecli import clock
from voicecli.cli.errors import print_error
from voicecli.errors import AbsentError, OfflineError, ServiceError
from voicecli.events import ConnectionOpened, Event, PlaybackStarted, Service, SpeechStopped, Warned
from voicecli.pipeline.connecting import (
    LONGEST_PAUSE,
    OPENING_PATIENCE,
    RECONNECT_PAUSES,
    open_patiently,
)
from voicecli.pipeline.transcription import STT_WATCHDOG
from voicecli.standin import Fault
from voicecli.standin.script import Script
from voicecli.units import Seconds

SPEECH, _ = alternate_speech(0.5, 1.2, 4.0)
FIRST_PAUSE = RECONNECT_PAUSES[1]


def refuse(
    service: Service,
    status: int = 503,
    *,
    on: int | Literal["every"] = 1,
    retry_after: Seconds | None = None,
) -> Fault:
    return Fault(service, "refuse", on=on, status=status, retry_after=retry_after)


def talk(*faults: Fault, absent: Service | None = None) -> Conversation:
    return converse(profile(), Script(), SPEECH, faults=faults, absent=absent)


def warnings(conversation: Conversation) -> list[tuple[Seconds, str, str]]:
    return [(round(one.at, 3), one.service, one.text) for one in conversation.all(Warned)]


def exit_code(conversation: Conversation) -> int:
    assert conversation.error is not None
    return print_error(conversation.error)


@pytest.mark.parametrize("service", ["stt", "tts"])
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_temporary_refusal_delays_the_start_and_is_shown(service: Service, status: int) -> None:
    conversation = talk(refuse(service, status))
    assert conversation.error is None
    assert len(conversation.all(PlaybackStarted)) == 1
    ((at, of, text),) = warnings(conversation)
    assert (at, of) == (0.0, service)
    assert f"HTTP {status}" in text
    assert text.endswith("; trying again in 0.25 s")
    assert conversation.began == pytest.approx(FIRST_PAUSE, abs=0.01)


@pytest.mark.parametrize("service", ["stt", "tts"])
def test_a_service_that_goes_on_refusing_is_given_up(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    conversation = talk(refuse(service, on="every"))
    assert exit_code(conversation) == 5
    assert f"{service.upper()}: 127.0.0.1" in capsys.readouterr().err
    found = warnings(conversation)
    pauses = RECONNECT_PAUSES[1:]
    assert [at for at, *_ in found] == pytest.approx(
        [sum(pauses[:count]) for count in range(len(pauses))]
    )
    assert sum(pauses) <= OPENING_PATIENCE


def test_two_services_that_fail_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    conversation = talk(refuse("stt", on="every"), refuse("tts", on="every"))
    assert exit_code(conversation) == 5
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(("status", "code"), [(400, 5), (401, 3), (402, 5), (403, 3), (404, 5)])
def test_a_final_refusal_ends_the_start_at_once(status: int, code: int) -> None:
    """Even while the other service is tried again."""
    conversation = talk(refuse("tts", status), refuse("stt", on="every"))
    assert exit_code(conversation) == code
    assert {of for _, of, _ in warnings(conversation)} <= {"stt"}


def test_a_final_refusal_after_a_temporary_one_ends_the_start() -> None:
    conversation = talk(refuse("stt", 503), refuse("stt", 401, on=2))
    assert exit_code(conversation) == 3
    assert len(warnings(conversation)) == 1


@pytest.mark.parametrize("service", ["stt", "tts"])
def test_an_address_without_a_server_fails_at_once(service: Service) -> None:
    conversation = talk(absent=service)
    assert exit_code(conversation) == 5
    assert warnings(conversation) == []


def test_the_service_says_when_to_try_again() -> None:
    conversation = talk(refuse("stt", 429, retry_after=3.0))
    ((_, _, text),) = warnings(conversation)
    assert text.endswith("; trying again in 3 s")
    assert conversation.began == pytest.approx(3.0, abs=0.01)


def test_a_longer_wait_than_the_start_may_take_is_not_waited() -> None:
    conversation = talk(refuse("stt", 429, retry_after=OPENING_PATIENCE + 1))
    assert exit_code(conversation) == 5
    assert warnings(conversation) == []


@pytest.mark.parametrize(
    ("error", "takes", "attempts"),
    [
        (ServiceError("stt", "reset", temporary=True), 0.0, [0, 0.25, 1.25, 3.25, 7.25]),
        (ServiceError("stt", "timed out", temporary=True), 5.0, [0, 5.25]),
        (OfflineError("stt", "no route", temporary=True), 0.0, [0, 0.25, 1.25]),
        (OfflineError("stt", "no resolver", temporary=True), 2.0, [0]),
        (AbsentError("stt", "refused", temporary=True), 0.0, [0]),
        (ServiceError("stt", "no TLS"), 0.0, [0]),
    ],
    ids=str,
)
def test_how_long_an_error_is_retried(
    error: ServiceError, takes: Seconds, attempts: list[Seconds]
) -> None:
    """takes: until each attempt fails."""
    tried: list[Seconds] = []
    warned: list[Event] = []

    @asynccontextmanager
    async def connect() -> AsyncIterator[None]:
        tried.append(clock.now())
        await asyncio.sleep(takes)
        raise error
        yield

    async def main() -> None:
        async with AsyncExitStack() as stack:
            await open_patiently(stack, "stt", connect, warned.append)

    with pytest.raises(ServiceError) as raised:
        clock.run(main(), virtual=True)
    assert raised.value is error
    assert tried == pytest.approx(attempts)
    assert len(warned) == len(attempts) - 1


def test_within_a_session_no_wait_is_longer_than_the_longest_pause() -> None:
    """The connection is dropped after 1 s, and the next one refused.

    The user stops speaking meanwhile: the STT owes a transcript from the reconnect on, not from
    then, and is opened once.
    """
    drop = Fault("stt", "drop", after=1.0)
    conversation = talk(drop, refuse("stt", 429, on=2, retry_after=60.0))
    assert conversation.error is None
    lost, refused = warnings(conversation)
    assert lost[2].endswith("; reconnecting")
    assert refused[2].endswith(f"; trying again in {LONGEST_PAUSE:g} s")
    opened = [one.at for one in conversation.all(ConnectionOpened) if one.service == "stt"]
    assert opened == pytest.approx([0.0, lost[0] + LONGEST_PAUSE], abs=0.05)
    stopped = conversation.one(SpeechStopped).at
    assert lost[0] < stopped < opened[1] - STT_WATCHDOG
    assert len(conversation.all(PlaybackStarted)) == 1
