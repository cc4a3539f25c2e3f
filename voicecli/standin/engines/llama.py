"""A small language model on llama.cpp, in this process."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xllamacpp

from voicecli.errors import InputError, ServiceError

CONTEXT = 4096
"""Tokens of conversation: 94 MB of keys and values in SmolLM2-135M, and some sixty exchanges."""

TEMPERATURE = 0.3
SAMPLING = {"top_p": 0.9, "repeat_penalty": 1.1}

LONGEST = 256
"""Tokens of a reply whose client sets no limit; a model this small may find no end."""


class Llama:
    """The model of a GGUF file, on so many threads, answering one request at a time.

    Calls block, and may come from any thread.  Raises InputError when the file is not a model.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx = CONTEXT
        params.n_parallel = 1
        params.n_gpu_layers = 0
        params.verbosity = 0
        params.cache_ram_mib = 0  # else earlier conversations are kept, up to 8 GB of them
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        # it also listens on a loopback port, for any web page to use: now nobody knows the key
        params.api_keys = [secrets.token_urlsafe()]
        try:
            self._server = xllamacpp.Server(params)
        except RuntimeError as error:
            raise InputError(f"{path} cannot be loaded as a language model") from error

    def answer(
        self,
        messages: list[dict[str, Any]],
        on_token: Callable[[str], bool],
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
    ) -> None:
        """Call ``on_token`` for each token of the reply; when it returns True, stop.

        Raises ServiceError when the request makes no sense to the model, as when the conversation
        has become longer than CONTEXT.
        """
        refusals: list[dict[str, Any]] = []

        def take(chunk: dict[str, Any]) -> bool:
            if "error" in chunk:
                refusals.append(chunk["error"])
                return True
            text = chunk["choices"][0]["delta"].get("content")
            return bool(text) and on_token(text)

        request = {
            "messages": messages,
            "max_tokens": LONGEST if max_tokens is None else max_tokens,
            "temperature": TEMPERATURE if temperature is None else temperature,
            "stream": True,
            "cache_prompt": True,
            **SAMPLING,
        }
        try:
            self._server.handle_chat_completions(request, take)
        except (RuntimeError, ValueError) as error:
            raise _refused(str(error)) from error
        for refusal in refusals:  # an exception raised in ``take`` would be lost in llama.cpp
            raise _refused(refusal["message"], refusal["code"])


def _refused(why: str, status: int = 400) -> ServiceError:
    return ServiceError("llm", f"the local model refuses the request: {why}", status=status)
