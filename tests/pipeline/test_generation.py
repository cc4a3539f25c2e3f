"""The LLM's side of a reply: races, retries, stalls, and the clauses that come of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

import pytest

from voicecli import clock
from voicecli.errors import ServiceError
from voicecli.events import ClauseReady, Event, FirstToken, LlmRequested
from voicecli.pipeline.generation import Generation, HedgeDelay
from voicecli.services.interfaces import Message, Usage
from voicecli.text.chunker import ClauseChunker

ASKED = [Message("user", "What is the time?")]
FOREVER = 1e6

Step = float | str | Usage | ServiceError
"""Of one request: seconds to wait, a token, what it cost, or its failure."""


class Model:
    """An LLM whose n-th request goes as the n-th script says; further ones as the last.

    asked, closed: when each request began and, whatever the reason, ended.
    """

    def __init__(self, *scripts: Sequence[Step]) -> None:
        self._scripts = scripts
        self.asked: list[float] = []
        self.closed: dict[int, float] = {}

    async def reply(self, messages: Sequence[Message]) -> AsyncGenerator[str | Usage, None]:
        assert messages == ASKED
        self.asked.append(clock.now())
        number = len(self.asked)
        try:
            for step in self._scripts[min(number, len(self._scripts)) - 1]:
                if isinstance(step, ServiceError):
                    raise step
                if isinstance(step, float):
                    await asyncio.sleep(step)
                else:
                    yield step
        finally:
            self.closed[number] = clock.now()


def trouble(*, temporary: bool = True, status: int | None = None) -> ServiceError:
    return ServiceError("llm", "no", temporary=temporary, status=status)


class Generated:
    """What has come of one reply: the events, and the clauses with the times they came at."""

    def __init__(
        self, model: Model, hedge: HedgeDelay | None = None, apology: str = "Sorry."
    ) -> None:
        self.model = model
        self.events: list[Event] = []
        self.clauses: list[tuple[float, str]] = []
        self.generation = Generation(
            1,
            ASKED,
            model,
            ClauseChunker(12),
            hedge=hedge or HedgeDelay(None),
            stall=0.15,
            apology=apology,
            post=self.events.append,
        )

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.generation.run(tasks))
            while pieces := await self.generation.clauses_from(len(self.clauses)):
                self.clauses += [(round(clock.now(), 3), piece) for piece in pieces]
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert len(self.model.closed) == len(self.model.asked)

    @property
    def texts(self) -> list[str]:
        return [text for _, text in self.clauses]

    def requests(self) -> list[tuple[float, int, bool]]:
        return [
            (round(event.at, 3), event.attempt, event.hedge)
            for event in self.events
            if isinstance(event, LlmRequested)
        ]

    def first_token(self) -> tuple[float, int] | None:
        """When it came, and of which request."""
        tokens = [event for event in self.events if isinstance(event, FirstToken)]
        assert len(tokens) <= 1
        return (round(tokens[0].at, 3), tokens[0].attempt) if tokens else None


def generate(
    *scripts: Sequence[Step], hedge: HedgeDelay | None = None, apology: str = "Sorry."
) -> Generated:
    async def main() -> Generated:
        generated = Generated(Model(*scripts), hedge, apology)
        await generated.run()
        return generated

    return clock.run(main(), virtual=True)


def test_tokens_become_clauses_as_they_come():
    generated = generate([0.3, "It is ", 0.1, "noon. ", 0.1, "Time for ", 0.1, "lunch."])
    assert generated.clauses == [(0.4, "It is noon. "), (0.6, "Time for lunch.")]
    assert generated.events == [
        LlmRequested(at=0, turn=1),
        FirstToken(at=0.3, turn=1),
        ClauseReady(at=0.4, turn=1, text="It is noon. "),
    ]
    assert generated.generation.failure is None


def test_what_it_cost_is_noted():
    generated = generate(["It is noon.", Usage(prompt_tokens=30, completion_tokens=4)])
    assert (generated.generation.prompt_tokens, generated.generation.tokens) == (30, 4)
    silent = generate(["It is noon."])
    assert (silent.generation.prompt_tokens, silent.generation.tokens) == (None, None)


# ── the LLM stalls ───────────────────────────────────────────────────────────────────────────────


def test_a_stall_within_the_first_clause_has_what_is_there_spoken():
    generated = generate([0.3, "Well, I be", 0.05, "lieve it is al", 1.0, "most noon."])
    assert generated.clauses == [(0.5, "Well, I believe it is "), (1.35, "almost noon.")]


def test_a_stall_within_a_later_clause_does_not():
    generated = generate(["It is noon. ", "Time for ", 1.0, "lunch."])
    assert generated.clauses == [(0, "It is noon. "), (1, "Time for lunch.")]


def test_a_stall_within_the_first_word_is_waited_for():
    generated = generate(["Abso", 1.0, "lutely n", 1.0, "ot."])
    assert generated.clauses == [(1.15, "Absolutely "), (2, "not.")]


# ── requests that are late ───────────────────────────────────────────────────────────────────────


def test_a_late_request_is_hedged_and_the_hedge_may_win():
    generated = generate([FOREVER], [0.2, "It is noon."], hedge=HedgeDelay(0.6))
    assert generated.requests() == [(0, 1, False), (0.6, 2, True)]
    assert generated.first_token() == (0.8, 2)
    assert generated.clauses == [(0.8, "It is noon.")]
    assert generated.model.closed[1] == pytest.approx(0.8)


def test_the_hedge_may_lose():
    generated = generate([0.7, "It is ", 0.5, "noon."], [0.2, "Noon."], hedge=HedgeDelay(0.6))
    assert generated.first_token() == (0.7, 1)
    assert "".join(generated.texts) == "It is noon."
    assert generated.model.closed[2] == pytest.approx(0.7)


def test_a_hedge_that_loses_by_nothing_says_nothing():
    """Both first tokens come at the same time."""
    generated = generate([0.8, "One.", 0.1], [0.2, "Two."], hedge=HedgeDelay(0.6))
    assert generated.first_token() == (0.8, 1)
    assert generated.texts == ["One."]


def test_there_is_one_hedge():
    generated = generate([9.0, "It is noon."], hedge=HedgeDelay(0.6))
    assert len(generated.requests()) == 2


def test_what_the_loser_says_of_its_failure_is_not_listened_to():
    generated = generate([0.7, trouble()], [0.05, "It is ", 1.0, "noon."], hedge=HedgeDelay(0.6))
    assert "".join(generated.texts) == "It is noon."
    assert generated.generation.failure is None


def test_a_request_that_fails_under_a_hedge_leaves_it_to_the_hedge():
    generated = generate([0.7, trouble()], [1.0, "It is noon."], hedge=HedgeDelay(0.6))
    assert generated.requests() == [(0, 1, False), (0.6, 2, True)]
    assert generated.texts == ["It is noon."]
    assert generated.generation.failure is None


def test_a_request_that_was_in_time_is_not_hedged():
    generated = generate([0.5, "It is ", 1.0, "noon."], hedge=HedgeDelay(0.6))
    assert generated.requests() == [(0, 1, False)]


def test_the_wait_for_the_first_token_is_remembered():
    hedge = HedgeDelay("auto")
    for _ in range(5):
        generate([0.9, "It is noon."], [FOREVER], hedge=hedge)
    assert hedge.delay == pytest.approx(0.9)


def test_the_wait_of_a_hedge_counts_from_its_own_request():
    hedge = HedgeDelay("auto")
    for _ in range(5):
        generate([FOREVER], [0.9, "It is noon."], hedge=hedge)
    assert hedge.delay == pytest.approx(0.9)


# ── requests that fail ───────────────────────────────────────────────────────────────────────────


def test_a_request_that_failed_for_now_is_sent_again():
    generated = generate([0.2, trouble()], [0.3, "It is noon."])
    assert generated.requests() == [(0, 1, False), (0.3, 2, False)]
    assert generated.first_token() == (0.6, 2)
    assert generated.generation.failure is None


def test_a_request_that_follows_a_failure_may_be_hedged():
    generated = generate([trouble()], [FOREVER], [0.1, "It is noon."], hedge=HedgeDelay(0.6))
    assert generated.requests() == [(0, 1, False), (0.1, 2, False), (0.7, 3, True)]
    assert generated.texts == ["It is noon."]


@pytest.mark.parametrize("hedge", [None, HedgeDelay(0.1)])
def test_after_two_or_three_failures_it_says_that_it_is_sorry(hedge):
    generated = generate([0.3, trouble()], hedge=hedge)
    assert len(generated.requests()) in (2, 3)
    assert generated.texts == ["Sorry."]
    assert generated.generation.apologised
    assert generated.generation.failure is not None
    assert generated.first_token() is None


def test_a_service_that_refuses_is_asked_once_and_nothing_is_said():
    generated = generate([trouble(temporary=False, status=401)])
    assert len(generated.requests()) == 1
    assert generated.texts == []
    assert generated.generation.failure is not None
    assert generated.generation.failure.final


def test_a_failure_that_a_second_request_would_not_fix_is_not_tried_again():
    generated = generate([trouble(temporary=False)])
    assert len(generated.requests()) == 1
    assert generated.texts == ["Sorry."]


def test_the_apology_may_be_empty():
    assert generate([trouble(temporary=False)], apology="").texts == []


@pytest.mark.parametrize("empty", [[0.1], [0.1, Usage(9, 0)], [0.1, "\n"], [0.1, "🙂", " "]])
def test_an_empty_reply_is_a_failure(empty):
    generated = generate(empty)
    assert generated.texts == ["Sorry."]
    assert generated.generation.failure is not None
    assert "empty" in str(generated.generation.failure)


def test_an_empty_reply_is_asked_for_again():
    assert generate([0.1], ["It is noon."]).texts == ["It is noon."]


@pytest.mark.parametrize("between", [[], [0.5]])
def test_a_reply_that_breaks_off_keeps_what_it_had(between):
    generated = generate(["It is noon. ", "Time ", *between, trouble()])
    assert "".join(generated.texts) == "It is noon. Time"
    assert not generated.generation.apologised
    assert generated.generation.failure is not None
    assert len(generated.requests()) == 1


# ── cancelled ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("after", [0.0, 0.05, 0.15, 0.25, 0.7, 0.95, 1.05, 1.5, 3.0])
def test_cancelled_at_any_time_it_leaves_no_request_behind(after):
    async def main() -> None:
        scripts = [trouble()], [FOREVER], [0.3, "It is ", 0.3, "noon. ", 9.0]
        generated = Generated(Model(*scripts), HedgeDelay(0.6))
        task = asyncio.create_task(generated.run())
        await asyncio.sleep(after)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert len(generated.model.closed) == len(generated.model.asked)

    clock.run(main(), virtual=True)


def test_cancelling_the_thinking_alone_ends_its_requests():
    """The TTS has failed: whoever speaks no longer wants more, and others go on in the group."""

    async def main() -> None:
        generated = Generated(Model(["It is noon. ", FOREVER]))
        async with asyncio.TaskGroup() as tasks:
            generation = tasks.create_task(generated.generation.run(tasks))
            await asyncio.sleep(1)
            generation.cancel()
        assert clock.now() == 1

    clock.run(main(), virtual=True)
