"""SmolLM2, or any other language model that llama.cpp runs, on this machine's processor."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from string import punctuation as PUNCTUATION
from typing import Any

from typing_extensions import override

from voicecli.errors import InputError, ServiceError
from voicecli.standin.engines import LlmEngine

Message = dict[str, Any]

CONTEXT = 4096
"""Tokens that the LLM remembers: 94 MB of keys and values in SmolLM2-135M, and some sixty turns."""

BATCH = 16
"""Tokens of a prompt processed at once: a reply is given up between two batches, and what has been
processed serves the next prompt that begins with it.  16 tokens take 0.1 s on a slow core; batches
of 512 are a tenth faster."""

REUSED = 16
"""Tokens that must match for a passage to be kept when what came before it has left the prompt: a
history that has dropped its older half is not processed again."""

TEMPERATURE = 0.3
SAMPLING = {"top_p": 0.9, "repeat_penalty": 1.1}
MAX_REPLY_TOKENS = 256  # for a client that sets no limit; a model this small may not stop


class Llama:
    """The language model of a GGUF file, on llama.cpp; one request at a time.

    context: tokens that it remembers.

    Calls block, and may come from any thread.  Raises InputError when the file is not a model.
    """

    def __init__(self, path: Path, threads: int = 1, context: int = CONTEXT) -> None:
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx = context
        params.n_parallel = 1
        params.n_gpu_layers = 0
        params.verbosity = 0
        params.n_batch = params.n_ubatch = BATCH
        params.n_cache_reuse = REUSED
        params.cache_ram_mib = 0  # or it keeps earlier conversations, up to 8 GB of them
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        # It also listens on a loopback port, open to any web page: a random key closes it.
        params.api_keys = [secrets.token_urlsafe()]
        try:
            self._server = xllamacpp.Server(params)
        except RuntimeError as error:
            raise InputError(f"{path} cannot be loaded as a language model") from error

    def answer(
        self,
        messages: list[Message],
        on_token: Callable[[str], bool],
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
    ) -> None:
        """Call ``on_token`` for each token of the reply, until it returns True.

        While the prompt is processed, it is called with "" after each BATCH.  Of messages that are
        longer than its context the older half is left out, again if need be, but never the last.

        Raises ServiceError when the model refuses, for instance a last message that is too long.
        """
        self._send(
            messages,
            on_token,
            max_tokens=MAX_REPLY_TOKENS if max_tokens is None else max_tokens,
            temperature=TEMPERATURE if temperature is None else temperature,
        )

    def prefill(self, messages: list[Message], is_abandoned: Callable[[], bool]) -> None:
        """Process a prompt that begins with ``messages``, the last of which may go on.

        is_abandoned: asked after each BATCH; True ends the call.
        """
        # The one token is drawn, but not processed.
        self._send(messages, lambda _: is_abandoned(), max_tokens=1, add_generation_prompt=False)

    def _send(
        self, messages: list[Message], on_token: Callable[[str], bool], **options: object
    ) -> None:
        while (refusal := self._request(messages, on_token, options)) is not None:
            instructions = [message for message in messages[:1] if message["role"] == "system"]
            rest = messages[len(instructions) :]
            if refusal.get("type") != "exceed_context_size_error" or len(rest) == 1:
                raise _refused(refusal["message"], refusal["code"])
            messages = instructions + rest[(len(rest) + 1) // 2 :]

    def _request(
        self,
        messages: list[Message],
        on_token: Callable[[str], bool],
        options: dict[str, object],
    ) -> dict[str, Any] | None:
        """Send one request; return the server's refusal, if it refuses."""
        refusals: list[dict[str, Any]] = []

        def take(chunk: dict[str, Any]) -> bool:
            if "error" in chunk:
                refusals.append(chunk["error"])
                return True
            return on_token(chunk["choices"][0]["delta"].get("content") or "")

        request = {
            "messages": messages,
            "stream": True,
            "return_progress": True,
            "cache_prompt": True,
            **SAMPLING,
            **options,
        }
        try:
            self._server.handle_chat_completions(request, take)
        except (RuntimeError, ValueError) as error:
            raise _refused(str(error)) from error
        return refusals[0] if refusals else None  # ``take`` must not raise: llama.cpp would lose it


def _refused(why: str, status: int = 400) -> ServiceError:
    return ServiceError("llm", f"the local model refuses the request: {why}", status=status)


@dataclass(eq=False)
class LocalLlm(LlmEngine):
    """A Llama that answers one request after the other; closing a reply stops it at once.

    What has been processed of a prompt stays: the next one that begins alike is processed from
    where it differs.  So while the user speaks, ``prefill`` processes what the next prompt will
    probably begin with.

    ``reply`` raises ServiceError when the model refuses the request.
    """

    model: Llama
    thread: Executor
    system_prompt: str | None = None
    """What the first prompt will begin with."""

    def __post_init__(self) -> None:
        system = {"role": "system", "content": self.system_prompt}
        self._conversation: list[Message] = [system] if self.system_prompt else []
        """The last request, and the reply to it, if that was not closed early."""
        self._prefilling: Future[None] | None = None
        self._abandoned = threading.Event()

    @override
    async def reply(
        self,
        messages: list[Message],
        *,
        model: str,
        max_tokens: int | None,
        temperature: float | None,
    ) -> AsyncGenerator[str, None]:
        loop = asyncio.get_running_loop()
        tokens: asyncio.Queue[str | None] = asyncio.Queue()
        closed = threading.Event()
        said = ""

        def post(token: str | None) -> bool:
            if token != "" and not closed.is_set():
                loop.call_soon_threadsafe(tokens.put_nowait, token)
            return closed.is_set()

        def answer() -> None:
            try:
                self.model.answer(messages, post, max_tokens=max_tokens, temperature=temperature)
            finally:
                post(None)

        self._abandon_prefill()
        self._conversation = messages
        answering = loop.run_in_executor(self.thread, answer)
        try:
            while (token := await tokens.get()) is not None:
                said += token
                yield token
            await answering
        finally:
            closed.set()
            answering.cancel()
        if self._conversation is messages:
            self._conversation = [*messages, {"role": "assistant", "content": said.strip()}]
            self.prefill("")

    def prefill(self, words: str) -> None:
        """Process what the next prompt will probably begin with, once the model is free.

        A request or another call abandons it.  Where the guess is wrong, the prompt is processed
        from there on, as it would be without.

        words: what the user has said so far in a segment; they continue a question whose reply was
            closed early, and otherwise begin the next one.  The mark at their end may still change,
            and is left out.
        """
        self._abandon_prefill()
        messages = _add_words(self._conversation, words.rstrip(PUNCTUATION).split())
        self._abandoned = abandoned = threading.Event()
        self._prefilling = self.thread.submit(self.model.prefill, messages, abandoned.is_set)

    def _abandon_prefill(self) -> None:
        self._abandoned.set()
        if self._prefilling is not None:
            self._prefilling.cancel()


def _add_words(messages: list[Message], words: list[str]) -> list[Message]:
    """Add what the user says to ``messages``: to the last one, if that is the user's."""
    said: list[str] = []
    if messages and messages[-1]["role"] == "user":
        said, messages = messages[-1]["content"].split(), messages[:-1]
    return [*messages, {"role": "user", "content": " ".join(_join_words(said, words))}]


def _join_words(said: list[str], words: list[str]) -> list[str]:
    """Join ``words`` to ``said``, the end of which they may restate: with the same two words."""
    old, new = ([word.casefold().strip(PUNCTUATION) for word in some] for some in (said, words[:2]))
    starts = (at for at in reversed(range(len(old))) if new and old[at : at + 2] == new)
    return said[: next(starts, len(said))] + words
