"""The local LLM: its thread and what it processes ahead with a model of our own; then SmolLM2."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from voicecli import clock, models
from voicecli.errors import ServiceError
from voicecli.standin.engines.llama import BATCH, Llama, LocalLlm, Message


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


class FakeLlama:
    """Generates tokens until it is stopped, and then may fail."""

    def __init__(self, tokens: Iterable[str], *, fails: bool = False) -> None:
        self.tokens = tokens
        self.fails = fails
        self.asked: list[Any] = []
        self.stopped = threading.Event()
        self.prefilled: list[list[str]] = []

    def prefill(self, messages: list[Message], is_abandoned: Callable[[], bool]) -> None:
        self.prefilled.append([message["content"] for message in messages])

    def answer(
        self,
        messages: list[Message],
        on_token: Callable[[str], bool],
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
    ) -> None:
        self.asked = [messages, max_tokens, temperature]
        for token in self.tokens:
            if on_token(token):
                self.stopped.set()
                return
        if self.fails:
            raise ServiceError("llm", "the local model refuses the request", status=400)


QUESTION = [{"role": "user", "content": "Why?"}]


def ask(
    llm: LocalLlm,
    messages: list[Message],
    *,
    max_tokens: int | None = None,
    temperature: float | None = None,
) -> AsyncGenerator[str, None]:
    return llm.reply(messages, model="local", max_tokens=max_tokens, temperature=temperature)


def test_the_reply_arrives_token_by_token(thread: ThreadPoolExecutor) -> None:
    model = FakeLlama(["Because", " it", " is."])

    async def main() -> list[str]:
        reply = ask(LocalLlm(model, thread), QUESTION, max_tokens=9, temperature=0.5)
        return [token async for token in reply]

    assert clock.run(main()) == ["Because", " it", " is."]
    assert model.asked == [QUESTION, 9, 0.5]


def test_closing_a_reply_stops_the_model_and_frees_it_for_the_next(
    thread: ThreadPoolExecutor,
) -> None:
    endless = FakeLlama(itertools.repeat("on"))

    async def main() -> list[str]:
        reply = ask(LocalLlm(endless, thread), QUESTION)
        async with aclosing(reply):
            await anext(reply)
        after = LocalLlm(FakeLlama(["next"]), thread)
        return [t async for t in ask(after, QUESTION)]

    assert clock.run(main()) == ["next"]
    assert endless.stopped.is_set()


def test_a_reply_whose_prompt_is_being_processed_can_be_closed(
    thread: ThreadPoolExecutor,
) -> None:
    endless = FakeLlama(itertools.repeat(""))

    async def main() -> None:
        reply = ask(LocalLlm(endless, thread), QUESTION)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await anext(reply)
        await reply.aclose()

    clock.run(main())
    assert endless.stopped.wait(5)


def test_a_reply_that_waits_for_the_model_can_be_closed(thread: ThreadPoolExecutor) -> None:
    busy = threading.Event()
    thread.submit(busy.wait)
    model = FakeLlama(["never"])

    async def main() -> None:
        reply = ask(LocalLlm(model, thread), QUESTION)
        try:
            async with asyncio.timeout(0.01):
                await anext(reply)
        except TimeoutError:
            await reply.aclose()

    try:
        clock.run(main())
    finally:
        busy.set()
    thread.shutdown()
    assert model.asked == []


def test_what_the_model_refuses_is_raised_after_the_tokens(thread: ThreadPoolExecutor) -> None:
    model = FakeLlama(["Well"], fails=True)

    async def main() -> str:
        reply = ask(LocalLlm(model, thread), QUESTION)
        token = await anext(reply)
        with pytest.raises(ServiceError, match="refuses"):
            await anext(reply)
        return token

    assert clock.run(main()) == "Well"


# ── processing ahead ─────────────────────────────────────────────────────────


def prompt(*contents: str) -> list[Message]:
    roles = itertools.cycle(("user", "assistant"))
    return [{"role": role, "content": text} for role, text in zip(roles, contents, strict=False)]


async def until_idle(thread: ThreadPoolExecutor) -> None:
    await asyncio.get_running_loop().run_in_executor(thread, lambda: None)


async def drain(llm: LocalLlm, *contents: str) -> None:
    async for _ in ask(llm, prompt(*contents)):
        pass


def test_the_first_prompt_begins_with_the_system_prompt(thread: ThreadPoolExecutor) -> None:
    model = FakeLlama([])
    LocalLlm(model, thread, "Be brief.").prefill("How far is it.")
    thread.shutdown()
    assert model.prefilled == [["Be brief.", "How far is it"]]


def test_after_a_reply_the_next_prompt_is_begun(thread: ThreadPoolExecutor) -> None:
    model = FakeLlama([" Yes", "."])
    llm = LocalLlm(model, thread)

    async def main() -> None:
        await drain(llm, "Is it far?")
        await until_idle(thread)
        llm.prefill("How far")

    clock.run(main())
    thread.shutdown()
    assert model.prefilled == [["Is it far?", "Yes.", ""], ["Is it far?", "Yes.", "How far"]]


@pytest.mark.parametrize(
    ("answered", "heard", "expected"),
    [
        ("How far is", "how far is it to", "how far is it to"),
        ("How far is it?", "And who", "How far is it? And who"),
        ("Well. How far", "How far is it", "Well. How far is it"),
        ("Well. How far is it?", "Well. How far", "Well. How far"),
        ("Well", "", "Well"),
        ("Well", "Well", "Well"),
    ],
)
def test_after_a_dropped_draft_the_question_goes_on(
    answered: str, heard: str, expected: str, thread: ThreadPoolExecutor
) -> None:
    model = FakeLlama(itertools.repeat("on"))
    llm = LocalLlm(model, thread)

    async def main() -> None:
        reply = ask(llm, prompt("Hi.", "Hello!", answered))
        async with aclosing(reply):
            await anext(reply)
        llm.prefill(heard)

    clock.run(main())
    thread.shutdown()
    assert model.prefilled == [["Hi.", "Hello!", expected]]


def test_a_request_abandons_what_is_processed_ahead(thread: ThreadPoolExecutor) -> None:
    started = threading.Event()

    class Slow(FakeLlama):
        def prefill(self, messages: list[Message], is_abandoned: Callable[[], bool]) -> None:
            super().prefill(messages, is_abandoned)
            started.set()
            while not is_abandoned():
                pass

    model = Slow(["Yes"])
    llm = LocalLlm(model, thread)

    async def main() -> str:
        llm.prefill("One")
        started.wait()
        llm.prefill("One two")  # never starts
        reply = ask(llm, QUESTION)
        async with aclosing(reply):
            return await anext(reply)

    assert clock.run(main()) == "Yes"
    assert model.prefilled == [["One"]]


# ── SmolLM2 ──────────────────────────────────────────────────────────────────

needs_model = pytest.mark.skipif(
    models.find(models.SMOLLM2) is None, reason="run: voicecli models fetch"
)


def turns(numbers: Iterable[int], system_prompt: str = "Be brief.") -> list[Message]:
    """A conversation about the house numbers ``numbers``, some 45 tokens each."""
    messages = [{"role": "system", "content": system_prompt}]
    for n in numbers:
        asked = f"Who lives at number {n}, Harbour Street, in the old town?"
        said = f"A family of {n + 2} with {n + 5} cats and a garden full of flowers lives there."
        messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    return [*messages, {"role": "user", "content": "And next door?"}]


@pytest.fixture(scope="module")
def model_file() -> Path:
    pytest.importorskip("xllamacpp")
    folder = models.find(models.SMOLLM2)
    assert folder is not None
    return folder / models.SMOLLM2.files[0].name


@pytest.fixture(scope="module")
def llama(model_file: Path) -> Llama:
    return Llama(model_file)


def count_batches(llama: Llama, messages: list[Message], most: int | None = None) -> int:
    """Count the batches of the prompt until the first token; give up after ``most``."""
    calls: list[str] = []

    def take(text: str) -> bool:
        calls.append(text)
        return bool(text) or len(calls) == most

    llama.answer(messages, take, max_tokens=1)
    return calls.count("")


@pytest.mark.local
@needs_model
def test_what_was_processed_of_a_prompt_is_not_processed_again(llama: Llama) -> None:
    whole = count_batches(llama, turns(range(10, 20)))
    assert whole > 30
    assert count_batches(llama, turns(range(30, 40)), most=8) == 8  # given up
    assert count_batches(llama, turns(range(30, 40))) <= whole - 5
    assert count_batches(llama, turns(range(30, 41))) <= whole // 4  # a turn more
    assert count_batches(llama, turns(range(36, 42))) <= whole // 4  # the older half dropped


@pytest.mark.local
@needs_model
def test_a_conversation_longer_than_the_context_loses_its_older_half(model_file: Path) -> None:
    said: list[str] = []
    llama = Llama(model_file, context=512)
    llama.answer(turns(range(10, 26)), lambda text: bool(said.append(text)), max_tokens=3)
    assert "".join(said)
    assert 20 < said.count("") < 512 / BATCH


class CountingServer:
    """Passes requests on; counts the tokens of the last prompt that were processed for it."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self.processed = 0

    def handle_chat_completions(self, request: Any, take: Callable[[Any], bool]) -> None:
        def count(chunk: Any) -> bool:
            if progress := chunk.get("prompt_progress"):
                self.processed = progress["processed"] - progress["cache"]
            return take(chunk)

        self._server.handle_chat_completions(request, count)


@pytest.mark.local
@needs_model
def test_after_the_last_word_little_of_the_prompt_is_left(
    llama: Llama, thread: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = CountingServer(llama._server)
    monkeypatch.setattr(llama, "_server", server)
    llm = LocalLlm(llama, thread, "Be brief.")

    async def count(question: str, *heard: str) -> int:
        """Count the tokens processed from the request to the first token of its reply."""
        await until_idle(thread)
        for words in heard:
            llm.prefill(words)
            await until_idle(thread)
        messages = [*llm._conversation, {"role": "user", "content": question}]
        async with aclosing(ask(llm, messages, max_tokens=4, temperature=0)) as tokens:
            await anext(tokens)
            processed = server.processed
            async for _ in tokens:
                pass
        return processed

    async def main() -> None:
        await count("Hello.")
        whole = await count("What is the capital of Australia?")
        ahead = await count("How far is it to Sydney?", "How", "How far is", "How far is it to.")
        same = await count("And what is it like in winter?", "And what", "And what is it like in")
        assert whole >= 12
        assert max(ahead, same) <= 8

    clock.run(main())
