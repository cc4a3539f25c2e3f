"""The LLM side of a reply: races, retries, stalls, and the resulting text."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicecli import clock
from voicecli.errors import ServiceError
from voicecli.events import ClauseReady, Event, FirstToken, LlmRequested, Warned
from voicecli.pipeline.generation import (
    HEDGE_MIN_SAMPLES,
    HEDGE_WINDOW,
    MAX_HEDGE_DELAY,
    MIN_HEDGE_DELAY,
    Generation,
    HedgeDelay,
    ReplyText,
)
from voicecli.services.interfaces import Message, Truncated, Usage
from voicecli.text.chunker import ClauseChunker
from voicecli.text.pacing import Pacing
from voicecli.text.reasoning import ReasoningHabit

ASKED = [Message("user", "What is the time?")]
FOREVER = 1e6

Step = float | str | Truncated | Usage | ServiceError
"""A step of a request: seconds to wait, a token, its usage, or its failure."""


class Model:
    """An LLM whose n-th request follows the n-th script; further ones follow the last.

    asked, closed: when each request began and, whatever the reason, ended.
    """

    def __init__(self, *scripts: Sequence[Step]) -> None:
        self._scripts = scripts
        self.asked: list[float] = []
        self.closed: dict[int, float] = {}

    async def load(self) -> None: ...

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


def teach() -> Pacing:
    """Return a pacing for which "It is noon." lasts long enough."""
    pacing = Pacing(0.06)
    pacing.add_writing("word " * 20, 0.1)
    pacing.add_ttfb(0.1)
    return pacing


class Generated:
    """One generation: its events, and its text with the times at which it came.

    first: the first clause, and when it was complete.
    whole: the whole text, and when it was complete.
    """

    def __init__(
        self, model: Model, hedge: HedgeDelay | None = None, apology: str = "Sorry."
    ) -> None:
        self.model = model
        self.events: list[Event] = []
        self.first = self.whole = (0.0, "")
        self.pacing = teach()
        self.text = ReplyText(ClauseChunker(self.pacing))
        self.result = Generation(
            1,
            ASKED,
            model,
            self.text,
            hedge=hedge or HedgeDelay(None),
            pacing=self.pacing,
            stall=0.15,
            apology=apology,
            post=self.events.append,
        )

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.result.run(tasks))
            await self.text.wait_for(lambda: self.text.first_end or self.text.complete)
            self.first = round(clock.now(), 3), self.text.written[: self.text.first_end or 0]
            await self.text.wait_for(lambda: self.text.complete)
            self.whole = round(clock.now(), 3), self.text.written
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert len(self.model.closed) == len(self.model.asked)

    def requests(self) -> list[tuple[float, int, bool]]:
        return [
            (round(event.at, 3), event.attempt, event.hedge)
            for event in self.events
            if isinstance(event, LlmRequested)
        ]

    def first_token(self) -> tuple[float, int] | None:
        """When it came, and from which request."""
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


def test_the_first_clause_is_there_as_soon_as_it_is_complete():
    generated = generate([0.3, "It is ", 0.1, "noon. ", 0.1, "Time for ", 0.1, "lunch."])
    assert generated.first == (0.4, "It is noon. ")
    assert generated.whole == (0.6, "It is noon. Time for lunch.")
    assert generated.events == [
        LlmRequested(at=0, turn=1),
        FirstToken(at=0.3, turn=1),
        ClauseReady(at=0.4, turn=1, text="It is noon. "),
    ]
    assert generated.result.failure is None


def test_token_usage_is_kept():
    generated = generate(["It is noon.", Usage(prompt_tokens=30, completion_tokens=4)])
    assert (generated.result.prompt_tokens, generated.result.tokens) == (30, 4)
    silent = generate(["It is noon."])
    assert (silent.result.prompt_tokens, silent.result.tokens) == (None, None)


# ── the LLM reasons ──────────────────────────────────────────────────────────────────────────────


def test_reasoning_counts_as_waiting_for_the_first_token():
    generated = generate([0.3, "<think>", 0.2, "Noon.", 0.2, "</think>", 0.1, "It is noon."])
    assert generated.events[1:] == [
        FirstToken(at=pytest.approx(0.8), turn=1),
        ClauseReady(at=pytest.approx(0.8), turn=1, text="It is noon."),
    ]
    assert generated.whole == (0.8, "It is noon.")


def test_reasoning_is_in_time_for_the_hedge():
    generated = generate([0.3, "<think>", 2.0, "</think>It is noon."], hedge=HedgeDelay(0.6))
    assert len(generated.requests()) == 1


def test_a_first_token_that_may_be_reasoning_is_stamped_when_it_came():
    generated = generate([0.3, "The user", 0.2, " guide is here."])
    assert generated.first_token() == (0.3, 1)


def test_reasoning_without_an_opening_tag_is_not_spoken_if_its_tag_comes_in_time():
    generated = generate(["I greet and say hi. ", 0.2, "</think>", 0.1, "It is ", 0.1, "noon."])
    assert generated.text.written == "It is noon."
    *_, warned, token, clause = generated.events
    assert isinstance(warned, Warned)
    assert "llm.reasoning: unopened" in warned.text
    assert token == FirstToken(at=pytest.approx(0.3), turn=1)
    assert isinstance(clause, ClauseReady)
    assert clause.text == "It is noon."


def test_what_was_read_to_be_spoken_cannot_be_revoked():
    text = ReplyText(ClauseChunker(teach()))
    text.push("I greet and say hi. Then I")
    assert text.read(0, text.first_end or 0) == "I greet and say hi. "
    text.push(" wait.</think>Hello.")
    text.flush()
    assert text.written == "I greet and say hi. Hello."


def test_the_next_reply_waits_for_the_closing_tag():
    habit = ReasoningHabit()
    for _ in range(2):
        text = ReplyText(ClauseChunker(teach()), habit)
        text.push("I greet and say hi. ")
        seen = text.first_end
        text.push("</think>Hello.")
    assert seen is None
    assert text.written == "Hello."


@pytest.mark.parametrize("cut", ["<think>The user", "<think>The user greets me. I should say hi"])
def test_a_reply_that_is_only_reasoning_is_a_failure(cut):
    generated = generate([cut])
    assert generated.whole[1] == "Sorry."
    assert "only reasoning" in str(generated.result.failure)
    assert "max_tokens" in str(generated.result.failure)


def test_the_tokens_used_include_reasoning():
    assert generate(["<think>" + 73 * "x" + "</think>" + "It is noon."]).result.used == Usage(4, 25)


# ── the LLM is cut off ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("It is noon. Time for lu", "It is noon. "),
        ("It is noon, but I think that the", "It is noon, "),
        ("It is noon.", "It is noon."),
        ("It is noon and the day is lo", "It is noon and the day "),
        ("Absolutel", "Absolutel"),
        ("", ""),
    ],
)
def test_a_reply_that_was_cut_off_ends_with_a_whole_clause(written: str, spoken: str):
    text = ReplyText(ClauseChunker(teach()))
    text.push(written)
    text.flush(cut=True)
    text.finish()
    assert text.written == spoken
    assert (text.first_end or 0) <= len(spoken)


def test_the_service_tells_that_the_reply_was_cut_off():
    generated = generate(["It is noon. Time for lu", Truncated("length")])
    assert generated.whole[1] == "It is noon. "


def test_a_cut_off_reply_keeps_what_was_read():
    text = ReplyText(ClauseChunker(teach()))
    text.push("It is noon. Time for lu")
    text.read(0, 18)
    text.flush(cut=True)
    assert text.written == "It is noon. Time f"


# ── the LLM stalls ───────────────────────────────────────────────────────────────────────────────


def test_a_stall_within_the_first_clause_cuts_it():
    generated = generate([0.3, "Well, I be", 0.05, "lieve it is al", 1.0, "most noon."])
    assert generated.first == (0.5, "Well, I believe ")
    assert generated.whole == (1.35, "Well, I believe it is almost noon.")


def test_a_stall_within_a_later_clause_does_not():
    generated = generate(["It is noon. ", "Time for ", 1.0, "lunch."])
    assert generated.first == (0, "It is noon. ")
    assert generated.whole == (1, "It is noon. Time for lunch.")


def test_a_stall_within_the_first_word_is_awaited():
    generated = generate(["Abso", 1.0, "lutely n", 1.0, "ot."])
    assert generated.first == (1.15, "Absolutely ")
    assert generated.whole == (2, "Absolutely not.")


# ── requests that are late ───────────────────────────────────────────────────────────────────────


def test_a_late_request_is_hedged_and_the_hedge_may_win():
    generated = generate([FOREVER], [0.2, "It is noon."], hedge=HedgeDelay(0.6))
    assert generated.requests() == [(0, 1, False), (0.6, 2, True)]
    assert generated.first_token() == (0.8, 2)
    assert generated.whole == (0.8, "It is noon.")
    assert generated.model.closed[1] == pytest.approx(0.8)


def test_the_hedge_may_lose():
    generated = generate([0.7, "It is ", 0.5, "noon."], [0.2, "Noon."], hedge=HedgeDelay(0.6))
    assert generated.first_token() == (0.7, 1)
    assert generated.whole[1] == "It is noon."
    assert generated.model.closed[2] == pytest.approx(0.7)


def test_a_hedge_that_loses_by_nothing_is_ignored():
    """Both first tokens come at the same time."""
    generated = generate([0.8, "One.", 0.1], [0.2, "Two."], hedge=HedgeDelay(0.6))
    assert generated.first_token() == (0.8, 1)
    assert generated.whole[1] == "One."


def test_there_is_one_hedge():
    generated = generate([9.0, "It is noon."], hedge=HedgeDelay(0.6))
    assert len(generated.requests()) == 2


def test_the_losers_failure_is_ignored():
    generated = generate([0.7, trouble()], [0.05, "It is ", 1.0, "noon."], hedge=HedgeDelay(0.6))
    assert generated.whole[1] == "It is noon."
    assert generated.result.failure is None


def test_a_request_that_fails_leaves_the_reply_to_its_hedge():
    generated = generate([0.7, trouble()], [1.0, "It is noon."], hedge=HedgeDelay(0.6))
    assert generated.requests() == [(0, 1, False), (0.6, 2, True)]
    assert generated.whole[1] == "It is noon."
    assert generated.result.failure is None


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


def test_a_temporary_failure_is_retried():
    generated = generate([0.2, trouble()], [0.3, "It is noon."])
    assert generated.requests() == [(0, 1, False), (0.3, 2, False)]
    assert generated.first_token() == (0.6, 2)
    assert generated.result.failure is None


def test_a_request_that_follows_a_failure_may_be_hedged():
    generated = generate([trouble()], [FOREVER], [0.1, "It is noon."], hedge=HedgeDelay(0.6))
    assert generated.requests() == [(0, 1, False), (0.1, 2, False), (0.7, 3, True)]
    assert generated.whole[1] == "It is noon."


@pytest.mark.parametrize("hedge", [None, HedgeDelay(0.1)])
def test_after_two_or_three_failures_it_apologises(hedge):
    generated = generate([0.3, trouble()], hedge=hedge)
    assert len(generated.requests()) in (2, 3)
    assert generated.whole[1] == "Sorry."
    assert generated.result.apologised
    assert generated.result.failure is not None
    assert generated.first_token() is None


def test_a_refusal_is_not_retried_and_no_apology_made():
    generated = generate([trouble(temporary=False, status=401)])
    assert len(generated.requests()) == 1
    assert generated.whole[1] == ""
    assert generated.result.failure is not None
    assert generated.result.failure.final


def test_a_permanent_failure_is_not_retried():
    generated = generate([trouble(temporary=False)])
    assert len(generated.requests()) == 1
    assert generated.whole[1] == "Sorry."


def test_the_apology_may_be_empty():
    assert generate([trouble(temporary=False)], apology="").whole[1] == ""


@pytest.mark.parametrize("empty", [[0.1], [0.1, Usage(9, 0)], [0.1, "\n"], [0.1, "🙂", " "]])
def test_an_empty_reply_is_a_failure(empty):
    generated = generate(empty)
    assert generated.whole[1] == "Sorry."
    assert generated.result.failure is not None
    assert "empty" in str(generated.result.failure)


def test_an_empty_reply_is_requested_again():
    assert generate([0.1], ["It is noon."]).whole[1] == "It is noon."


@pytest.mark.parametrize("between", [[], [0.5]])
def test_a_reply_that_breaks_off_keeps_what_it_had(between):
    generated = generate(["It is noon. ", "Time ", *between, trouble()])
    assert generated.whole[1] == "It is noon. Time"
    assert not generated.result.apologised
    assert generated.result.failure is not None
    assert len(generated.requests()) == 1


def test_it_learns_how_fast_the_llm_writes_after_its_first_token():
    generated = generate([0.5, "It ", *[0.1, "is "] * 10, 0.1, "noon."])
    expected = Pacing(0.06)
    expected.add_writing("word " * 20, 0.1)
    expected.add_writing("is " * 10 + "noon.", 1.1)
    assert generated.pacing.writing.value == pytest.approx(expected.writing.value)


@pytest.mark.parametrize("script", [[0.5, "It is noon."], ["It is ", 1.0, trouble()]])
def test_from_a_single_token_or_a_failure_it_learns_nothing(script):
    assert generate(script).pacing.writing.value == teach().writing.value


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


def test_cancelling_the_generation_alone_ends_its_requests():
    """The TTS has failed: no more text is read, and the group goes on."""

    async def main() -> None:
        generated = Generated(Model(["It is noon. ", FOREVER]))
        async with asyncio.TaskGroup() as tasks:
            generation = tasks.create_task(generated.result.run(tasks))
            await asyncio.sleep(1)
            generation.cancel()
        assert clock.now() == 1

    clock.run(main(), virtual=True)


# ── when to hedge ────────────────────────────────────────────────────────────────────────────────


def learn(*waits: float, fixed: float | str | None = "auto") -> HedgeDelay:
    hedge = HedgeDelay(fixed)
    for wait in waits:
        hedge.add(wait)
    return hedge


class TestHedgeDelay:
    @pytest.mark.parametrize("fixed", [None, 0.0, 0.3, 5.0])
    def test_a_fixed_delay_does_not_learn(self, fixed):
        assert learn(*[0.9] * 20, fixed=fixed).delay == fixed

    def test_with_few_samples_it_is_the_minimum(self):
        assert learn(*[1.0] * (HEDGE_MIN_SAMPLES - 1)).delay == MIN_HEDGE_DELAY
        assert learn(*[1.0] * HEDGE_MIN_SAMPLES).delay == 1.0

    def test_it_is_the_90th_percentile(self):
        """Of 0.61, 0.62 … 1.10, fifty of them, 45 are at most 1.05."""
        delay = learn(*(0.6 + index / 100 for index in range(1, 51))).delay
        assert delay == pytest.approx(1.051)

    def test_old_waits_are_forgotten(self):
        assert learn(*[9.0] * 100, *[0.7] * HEDGE_WINDOW).delay == 0.7

    @given(st.lists(st.floats(0, 100), max_size=60))
    def test_it_stays_within_bounds(self, waits):
        delay = learn(*waits).delay
        assert delay is not None
        assert MIN_HEDGE_DELAY <= delay <= MAX_HEDGE_DELAY
