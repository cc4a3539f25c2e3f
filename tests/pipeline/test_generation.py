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


class Thought:
    """What has come of one reply: the events, and the clauses with the times they came at."""

    def __init__(
        self, model: Model, hedge: HedgeDelay | None = None, apology: str = "Sorry."
    ) -> None:
        self.model = model
        self.events: list[Event] = []
        self.clauses: list[tuple[float, str]] = []
        self.thinking = Generation(
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
            tasks.create_task(self.thinking.run(tasks))
            while pieces := await self.thinking.following(len(self.clauses)):
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


def think(
    *scripts: Sequence[Step], hedge: HedgeDelay | None = None, apology: str = "Sorry."
) -> Thought:
    async def main() -> Thought:
        thought = Thought(Model(*scripts), hedge, apology)
        await thought.run()
        return thought

    return clock.run(main(), virtual=True)


def test_tokens_become_clauses_as_they_come():
    thought = think([0.3, "It is ", 0.1, "noon. ", 0.1, "Time for ", 0.1, "lunch."])
    assert thought.clauses == [(0.4, "It is noon. "), (0.6, "Time for lunch.")]
    assert thought.events == [
        LlmRequested(at=0, turn=1),
        FirstToken(at=0.3, turn=1),
        ClauseReady(at=0.4, turn=1, text="It is noon. "),
    ]
    assert thought.thinking.failure is None


def test_what_it_cost_is_noted():
    thought = think(["It is noon.", Usage(prompt_tokens=30, completion_tokens=4)])
    assert (thought.thinking.prompt_tokens, thought.thinking.tokens) == (30, 4)
    silent = think(["It is noon."])
    assert (silent.thinking.prompt_tokens, silent.thinking.tokens) == (None, None)


# ── the LLM stalls ───────────────────────────────────────────────────────────────────────────────


def test_a_stall_within_the_first_clause_has_what_is_there_spoken():
    thought = think([0.3, "Well, I be", 0.05, "lieve it is al", 1.0, "most noon."])
    assert thought.clauses == [(0.5, "Well, I believe it is "), (1.35, "almost noon.")]


def test_a_stall_within_a_later_clause_does_not():
    thought = think(["It is noon. ", "Time for ", 1.0, "lunch."])
    assert thought.clauses == [(0, "It is noon. "), (1, "Time for lunch.")]


def test_a_stall_within_the_first_word_is_waited_for():
    thought = think(["Abso", 1.0, "lutely n", 1.0, "ot."])
    assert thought.clauses == [(1.15, "Absolutely "), (2, "not.")]


# ── requests that are late ───────────────────────────────────────────────────────────────────────


def test_a_late_request_is_hedged_and_the_hedge_may_win():
    thought = think([FOREVER], [0.2, "It is noon."], hedge=HedgeDelay(0.6))
    assert thought.requests() == [(0, 1, False), (0.6, 2, True)]
    assert thought.first_token() == (0.8, 2)
    assert thought.clauses == [(0.8, "It is noon.")]
    assert thought.model.closed[1] == pytest.approx(0.8)


def test_the_hedge_may_lose():
    thought = think([0.7, "It is ", 0.5, "noon."], [0.2, "Noon."], hedge=HedgeDelay(0.6))
    assert thought.first_token() == (0.7, 1)
    assert "".join(thought.texts) == "It is noon."
    assert thought.model.closed[2] == pytest.approx(0.7)


def test_a_hedge_that_loses_by_nothing_says_nothing():
    """Both first tokens come at the same time."""
    thought = think([0.8, "One.", 0.1], [0.2, "Two."], hedge=HedgeDelay(0.6))
    assert thought.first_token() == (0.8, 1)
    assert thought.texts == ["One."]


def test_there_is_one_hedge():
    thought = think([9.0, "It is noon."], hedge=HedgeDelay(0.6))
    assert len(thought.requests()) == 2


def test_what_the_loser_says_of_its_failure_is_not_listened_to():
    thought = think([0.7, trouble()], [0.05, "It is ", 1.0, "noon."], hedge=HedgeDelay(0.6))
    assert "".join(thought.texts) == "It is noon."
    assert thought.thinking.failure is None


def test_a_request_that_fails_under_a_hedge_leaves_it_to_the_hedge():
    thought = think([0.7, trouble()], [1.0, "It is noon."], hedge=HedgeDelay(0.6))
    assert thought.requests() == [(0, 1, False), (0.6, 2, True)]
    assert thought.texts == ["It is noon."]
    assert thought.thinking.failure is None


def test_a_request_that_was_in_time_is_not_hedged():
    thought = think([0.5, "It is ", 1.0, "noon."], hedge=HedgeDelay(0.6))
    assert thought.requests() == [(0, 1, False)]


def test_the_wait_for_the_first_token_is_remembered():
    hedge = HedgeDelay("auto")
    for _ in range(5):
        think([0.9, "It is noon."], [FOREVER], hedge=hedge)
    assert hedge.delay == pytest.approx(0.9)


def test_the_wait_of_a_hedge_counts_from_its_own_request():
    hedge = HedgeDelay("auto")
    for _ in range(5):
        think([FOREVER], [0.9, "It is noon."], hedge=hedge)
    assert hedge.delay == pytest.approx(0.9)


# ── requests that fail ───────────────────────────────────────────────────────────────────────────


def test_a_request_that_failed_for_now_is_sent_again():
    thought = think([0.2, trouble()], [0.3, "It is noon."])
    assert thought.requests() == [(0, 1, False), (0.3, 2, False)]
    assert thought.first_token() == (0.6, 2)
    assert thought.thinking.failure is None


def test_a_request_that_follows_a_failure_may_be_hedged():
    thought = think([trouble()], [FOREVER], [0.1, "It is noon."], hedge=HedgeDelay(0.6))
    assert thought.requests() == [(0, 1, False), (0.1, 2, False), (0.7, 3, True)]
    assert thought.texts == ["It is noon."]


@pytest.mark.parametrize("hedge", [None, HedgeDelay(0.1)])
def test_after_two_or_three_failures_it_says_that_it_is_sorry(hedge):
    thought = think([0.3, trouble()], hedge=hedge)
    assert len(thought.requests()) in (2, 3)
    assert thought.texts == ["Sorry."]
    assert thought.thinking.apologised
    assert thought.thinking.failure is not None
    assert thought.first_token() is None


def test_a_service_that_refuses_is_asked_once_and_nothing_is_said():
    thought = think([trouble(temporary=False, status=401)])
    assert len(thought.requests()) == 1
    assert thought.texts == []
    assert thought.thinking.failure is not None
    assert thought.thinking.failure.final


def test_a_failure_that_a_second_request_would_not_fix_is_not_tried_again():
    thought = think([trouble(temporary=False)])
    assert len(thought.requests()) == 1
    assert thought.texts == ["Sorry."]


def test_the_apology_may_be_empty():
    assert think([trouble(temporary=False)], apology="").texts == []


@pytest.mark.parametrize("empty", [[0.1], [0.1, Usage(9, 0)], [0.1, "\n"], [0.1, "🙂", " "]])
def test_an_empty_reply_is_a_failure(empty):
    thought = think(empty)
    assert thought.texts == ["Sorry."]
    assert thought.thinking.failure is not None
    assert "empty" in str(thought.thinking.failure)


def test_an_empty_reply_is_asked_for_again():
    assert think([0.1], ["It is noon."]).texts == ["It is noon."]


@pytest.mark.parametrize("between", [[], [0.5]])
def test_a_reply_that_breaks_off_keeps_what_it_had(between):
    thought = think(["It is noon. ", "Time ", *between, trouble()])
    assert "".join(thought.texts) == "It is noon. Time"
    assert not thought.thinking.apologised
    assert thought.thinking.failure is not None
    assert len(thought.requests()) == 1


# ── cancelled ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("after", [0.0, 0.05, 0.15, 0.25, 0.7, 0.95, 1.05, 1.5, 3.0])
def test_cancelled_at_any_time_it_leaves_no_request_behind(after):
    async def main() -> None:
        scripts = [trouble()], [FOREVER], [0.3, "It is ", 0.3, "noon. ", 9.0]
        thought = Thought(Model(*scripts), HedgeDelay(0.6))
        task = asyncio.create_task(thought.run())
        await asyncio.sleep(after)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert len(thought.model.closed) == len(thought.model.asked)

    clock.run(main(), virtual=True)


def test_cancelling_the_thinking_alone_ends_its_requests():
    """The TTS has failed: whoever speaks no longer wants more, and others go on in the group."""

    async def main() -> None:
        thought = Thought(Model(["It is noon. ", FOREVER]))
        async with asyncio.TaskGroup() as tasks:
            thinking = tasks.create_task(thought.thinking.run(tasks))
            await asyncio.sleep(1)
            thinking.cancel()
        assert clock.now() == 1

    clock.run(main(), virtual=True)
