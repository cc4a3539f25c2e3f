"""OpenAI's ``/v1/chat/completions`` and ``/v1/models``."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from voicecli.standin.engines.interfaces import Engines
from voicecli.standin.faults import Broken, Faults, Trouble
from voicecli.standin.http import Exchange, Request

MODEL = "gpt-4o-mini"
MODEL_PREFIX = "gpt-"
"""A model of any other name, except the engines' own, is not found."""

Body = dict[str, Any]


class ChatService:
    """Answers HTTP requests with ``engines``."""

    def __init__(self, engines: Engines, faults: Faults, *, require_key: bool) -> None:
        self._engines = engines
        self._faults = faults
        self._require_key = require_key

    async def answer(self, request: Request, exchange: Exchange) -> None:
        """Answer one request."""
        path = request.path.partition("?")[0]
        try:
            self._check_key(request)
            if path == "/v1/chat/completions" and request.method == "POST":
                trouble = self._faults.at("llm", "request")
                await trouble.bear(self._complete(request, exchange, trouble))
            elif path.startswith("/v1/models") and request.method == "GET":
                await _respond(exchange, 200, self._models(path.removeprefix("/v1/models")))
            else:
                raise ChatError(404, f"Invalid URL ({request.method} {path})")
        except ChatError as error:
            await _respond(exchange, error.status, error.body)
        except Broken as broken:
            if broken.half_open:
                await asyncio.get_running_loop().create_future()  # for as long as the client waits
            exchange.abort()

    def _check_key(self, request: Request) -> None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if self._require_key and not (scheme.lower() == "bearer" and key.strip()):
            message = "You didn't provide an API key."
            raise ChatError(401, message, code="invalid_api_key")

    def _models(self, name: str) -> Body:
        known = [
            {"id": model, "object": "model", "created": 0, "owned_by": "voicecli"}
            for model in (MODEL, self._engines.name)
        ]
        if name in ("", "/"):
            return {"object": "list", "data": known}
        for model in known:
            if model["id"] == name[1:]:
                return model
        raise _not_found(name[1:])

    async def _complete(self, request: Request, exchange: Exchange, trouble: Trouble) -> None:
        if refuse := trouble.find("refuse"):
            raise usual_error(refuse.status)
        wishes = chat_request(request.body)
        if not (wishes.model.startswith(MODEL_PREFIX) or wishes.model == self._engines.name):
            raise _not_found(wishes.model)
        if wishes.stream:
            await self._stream(wishes, exchange, trouble)
            return
        async with aclosing(self._tokens(wishes)) as tokens:
            said = [token async for token in tokens]
        await trouble.hold()
        completion = Completion(wishes)
        await _respond(exchange, 200, completion.whole(said))

    async def _stream(self, wishes: ChatRequest, exchange: Exchange, trouble: Trouble) -> None:
        async def send(data: str) -> None:
            await trouble.hold()
            await exchange.write(f"data: {trouble.tear(data)}\n\n".encode())

        completion = Completion(wishes)
        headers = {"content-type": "text/event-stream; charset=utf-8", **_request_id()}
        await exchange.start(200, headers)
        await send(completion.chunk({"role": "assistant", "content": ""}))
        count = 0
        async with aclosing(self._tokens(wishes)) as tokens:
            async for token in tokens:
                count += 1
                await send(completion.chunk({"content": token}))
        await send(completion.chunk({}, finish=completion.finish_reason(count)))
        if wishes.include_usage:
            await send(completion.usage_chunk(count))
        await exchange.write(b"data: [DONE]\n\n")
        await exchange.finish()

    def _tokens(self, wishes: ChatRequest) -> AsyncGenerator[str, None]:
        return self._engines.responder.reply(
            wishes.messages, max_tokens=wishes.max_tokens, temperature=wishes.temperature
        )


class Completion:
    """The JSON of one completion."""

    def __init__(self, wishes: ChatRequest) -> None:
        self._wishes = wishes
        self._head = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(datetime.now(UTC).timestamp()),
            "model": wishes.model,
            "system_fingerprint": None,
        }

    def whole(self, said: list[str]) -> Body:
        """The answer to a request that is not streamed."""
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": "".join(said), "refusal": None},
            "logprobs": None,
            "finish_reason": self.finish_reason(len(said)),
        }
        usage = self._usage(len(said))
        return self._head | {"object": "chat.completion", "choices": [choice], "usage": usage}

    def chunk(self, delta: Body, finish: str | None = None) -> str:
        """One chunk of a stream."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return self._chunk([choice], None)

    def usage_chunk(self, tokens: int) -> str:
        """The chunk that has the usage, and no choices."""
        return self._chunk([], self._usage(tokens))

    def finish_reason(self, tokens: int) -> str:
        """Why the reply ended after so many tokens."""
        limit = self._wishes.max_tokens
        return "length" if limit is not None and tokens >= limit else "stop"

    def _chunk(self, choices: list[Body], usage: Body | None) -> str:
        body = self._head | {"object": "chat.completion.chunk", "choices": choices}
        if self._wishes.include_usage:
            body["usage"] = usage
        if self._wishes.obfuscate:  # padding that hides the length of the token
            text = choices[0]["delta"].get("content", "") if choices else ""
            body["obfuscation"] = uuid.uuid4().hex[: max(0, 16 - len(text))]
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"))

    def _usage(self, tokens: int) -> Body:
        """Tokens of the prompt are counted as words: nobody here has the real tokeniser."""
        prompt = sum(len(message["content"].split()) for message in self._wishes.messages)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": tokens,
            "total_tokens": prompt + tokens,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }


def _not_found(model: str) -> ChatError:
    message = f"The model `{model}` does not exist or you do not have access to it."
    return ChatError(404, message, param="model", code="model_not_found")


def _request_id() -> dict[str, str]:
    return {"x-request-id": f"req_{uuid.uuid4().hex}"}


async def _respond(exchange: Exchange, status: int, body: Body) -> None:
    headers = {"content-type": "application/json", **_request_id()}
    await exchange.respond(status, json.dumps(body).encode(), headers)


REASONING = re.compile(r"o\d|gpt-[5-9]")
"""Models that refuse ``max_tokens``."""

ROLES = ("system", "developer", "user", "assistant", "tool")


class ChatError(Exception):
    """The request is refused: an HTTP status and the fields of the ``error`` object."""

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(status, message)
        self.status = status
        kind = "server_error" if status >= 500 else "invalid_request_error"
        if status == 429:
            kind = "requests"
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


USUAL_ERRORS = {
    401: ("Incorrect API key provided.", "invalid_api_key"),
    403: ("Country, region, or territory not supported", "unsupported_country_region_territory"),
    404: ("The model does not exist or you do not have access to it.", "model_not_found"),
    422: ("The request was well-formed but could not be followed.", None),
    429: ("Rate limit reached for requests.", "rate_limit_exceeded"),
    503: ("The server is currently overloaded with other requests.", "server_is_overloaded"),
}


def usual_error(status: int) -> ChatError:
    """What the service says with a status."""
    message, code = USUAL_ERRORS.get(status, ("The server had an error.", None))
    return ChatError(status, message, code=code)


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What a client asked for.

    messages: as sent, every ``content`` a string.
    """

    model: str
    messages: list[dict[str, Any]]
    stream: bool
    include_usage: bool
    obfuscate: bool
    max_tokens: int | None
    temperature: float | None


def chat_request(body: bytes) -> ChatRequest:
    """The request in ``body``; raises ChatError as the service does."""
    try:
        wishes = json.loads(body)
    except ValueError:
        wishes = None
    if not isinstance(wishes, dict):
        message = "We could not parse the JSON body of your request. The API expects a JSON payload"
        raise ChatError(400, message)
    if not isinstance(model := wishes.get("model"), str) or not model:
        raise ChatError(400, "you must provide a model parameter")
    options = wishes.get("stream_options") or {}
    if options and wishes.get("stream") is not True:
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise ChatError(400, message, param="stream_options")
    temperature = wishes.get("temperature")
    if temperature is not None and not _is_number(temperature, 0, 2):
        raise _invalid("temperature", "a number from 0 to 2")
    return ChatRequest(
        model=model,
        messages=_messages(wishes),
        stream=wishes.get("stream") is True,
        include_usage=options.get("include_usage") is True,
        obfuscate=options.get("include_obfuscation") is not False,
        max_tokens=_max_tokens(wishes, model),
        temperature=temperature,
    )


def _messages(wishes: dict[str, Any]) -> list[dict[str, Any]]:
    messages = wishes.get("messages")
    if messages is None:
        message = "Missing required parameter: 'messages'."
        raise ChatError(400, message, param="messages", code="missing_required_parameter")
    if not isinstance(messages, list) or not messages:
        raise _invalid("messages", "an array of at least one message")
    return [_message(message, f"messages[{index}]") for index, message in enumerate(messages)]


def _message(message: Any, where: str) -> dict[str, Any]:
    if not isinstance(message, dict):
        raise _invalid(where, "an object")
    if message.get("role") not in ROLES:
        raise _invalid(f"{where}.role", f"one of {', '.join(ROLES)}")
    match message.get("content"):
        case str(text):
            return {**message, "content": text}
        case None if message["role"] == "assistant":
            return {**message, "content": ""}
        case [*parts] if all(isinstance(part, dict) and "text" in part for part in parts):
            return {**message, "content": "".join(str(part["text"]) for part in parts)}
    raise _invalid(f"{where}.content", "a string or an array of text parts")


def _max_tokens(wishes: dict[str, Any], model: str) -> int | None:
    old, new = wishes.get("max_tokens"), wishes.get("max_completion_tokens")
    if old is not None and REASONING.match(model):
        message = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead."
        )
        raise ChatError(400, message, param="max_tokens", code="unsupported_parameter")
    if old is not None and new is not None:
        message = (
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
        )
        raise ChatError(400, message, param="max_tokens", code="invalid_parameter_combination")
    limit = old if new is None else new
    if limit is not None and not (isinstance(limit, int) and _is_number(limit, 1, 1 << 20)):
        raise _invalid("max_tokens" if new is None else "max_completion_tokens", "an integer >= 1")
    return limit


def _is_number(value: Any, low: float, high: float) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and low <= value <= high


def _invalid(param: str, expected: str) -> ChatError:
    message = f"Invalid value for '{param}': expected {expected}."
    return ChatError(400, message, param=param, code="invalid_value")
