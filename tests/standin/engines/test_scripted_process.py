"""Scripted stand-ins in a process of their own: servers for each session, and none afterwards."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.support.conversations import profile
from voicecli import clock
from voicecli.errors import ServiceError
from voicecli.pipeline.wiring import Services
from voicecli.services.interfaces import Message
from voicecli.standin import Endpoints
from voicecli.standin.engines.scripted_process import open_scripted_process
from voicecli.standin.script import Fault, LlmScript, Script

QUESTION = Message("user", "Why?")


def say(*texts: str, faults: tuple[Fault, ...] = ()) -> Script:
    return Script(llm=LlmScript(says=texts), faults=faults)


async def ask(endpoints: Endpoints) -> str:
    """Return the LLM's reply to a question."""
    services = Services(profile=profile(), standin=endpoints, environ={})
    async with services.open_llm() as llm:
        return "".join([one async for one in llm.reply([QUESTION]) if isinstance(one, str)])


def test_each_session_has_its_own_script() -> None:
    async def main() -> list[str]:
        async with open_scripted_process() as process, AsyncExitStack() as stack:
            opening = [
                process.open(say(f"Reply {number}."), require_key=False) for number in range(5)
            ]
            opened = await asyncio.gather(*map(stack.enter_async_context, opening))
            return await asyncio.gather(*map(ask, opened))

    assert clock.run(main()) == [f"Reply {number}." for number in range(5)]


def test_a_script_with_faults_and_umlauts_arrives_whole() -> None:
    script = say("Grüße.", faults=(Fault(service="llm", kind="refuse", on=1, status=400),))

    async def main() -> str:
        async with (
            open_scripted_process() as process,
            process.open(script, require_key=False) as endpoints,
        ):
            with pytest.raises(ServiceError):
                await ask(endpoints)
            return await ask(endpoints)

    assert clock.run(main()) == "Grüße."


def test_servers_end_with_their_session_and_the_others_stay() -> None:
    async def main() -> str:
        async with (
            open_scripted_process() as process,
            process.open(say("Stays."), require_key=False) as stays,
        ):
            async with process.open(say("Ends."), require_key=False) as ends:
                assert await ask(ends) == "Ends."
            async with process.open(say("New."), require_key=False):  # by then it has closed
                with pytest.raises(ServiceError):
                    await ask(ends)
            return await ask(stays)

    assert clock.run(main()) == "Stays."


def test_who_stops_waiting_leaves_the_answer_to_no_one_else() -> None:
    async def main() -> str:
        async with open_scripted_process() as process:

            async def open_first() -> None:
                async with process.open(say("First."), require_key=False):
                    pytest.fail("it was cancelled before")

            first = asyncio.create_task(open_first())
            await asyncio.sleep(0)  # it asks, and waits for the answer
            first.cancel()
            await asyncio.wait([first])
            async with process.open(say("Second."), require_key=False) as endpoints:
                return await ask(endpoints)

    assert clock.run(main()) == "Second."


def test_a_process_that_has_ended_is_named() -> None:
    async def main() -> None:
        async with open_scripted_process() as process:
            process.kill()
            with pytest.raises(ServiceError, match="stand-ins has ended"):
                async with process.open(say("Never."), require_key=False):
                    pytest.fail("nothing serves")

    clock.run(main())
