"""OpenAI's ``/v1/chat/completions`` and ``/v1/models``."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import h11

from voicecli.standin.engines import Engines
from voicecli.standin.http import HttpConnection, HttpRequest
from voicecli.standin.script import ActiveFaults, ConnectionBroken, FaultSchedule, HalfOpen

Body = dict[str, Any]

REASONING = re.compile(r"o\d|gpt-[5-9]")  # models that reject ``max_tokens``

OLD_LIMIT = (
    "Unsupported parameter: 'max_tokens' is not supported with this model. "
    "Use 'max_completion_tokens' instead."
)
TWO_LIMITS = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."

ROLES = ("system", "developer", "user", "assistant", "tool")

ERRORS = {
    401: ("Incorrect API key provided.", "invalid_api_key"),
    403: ("Country, region, or territory not supported", "unsupported_country_region_territory"),
    404: ("The model does not exist or you do not have access to it.", "model_not_found"),
    422: ("The request was well-formed but could not be followed.", None),
    429: ("Rate limit reached for requests.", "rate_limit_exceeded"),
    503: ("The server is currently overloaded with other requests.", "server_is_overloaded"),
}
"""The service's message and code by status."""

MODEL = "gpt-4o-mini"
MODEL_PREFIX = "gpt-"  # no other model is found, except the engines' own

USAGE_DETAILS = {
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}


class ChatError(Exception):
    """A request is refused with an HTTP status and a JSON body; the message defaults to ERRORS."""

    def __init__(
        self, status: int, message: str = "", *, param: str | None = None, code: str | None = None
    ) -> None:
        if not message:
            message, code = ERRORS.get(status, ("The server had an error.", None))
        super().__init__(status, message)
        self.status = status
        usual = "server_error" if status >= 500 else "invalid_request_error"
        kind = "requests" if status == 429 else usual
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A validated request; ``messages`` are as sent, but every ``content`` is a string."""

    model: str
    messages: list[Body]
    stream: bool
    include_usage: bool
    obfuscate: bool
    max_tokens: int | None
    temperature: float | None


def parse_chat_request(body: bytes) -> ChatRequest:
    """Parse the body of a request; raise ChatError where the service would."""
    try:
        request = json.loads(body)
    except ValueError:
        request = None
    if not isinstance(request, dict):
        message = "We could not parse the JSON body of your request. The API expects a JSON payload"
        raise ChatError(400, message)
    if not isinstance(model := request.get("model"), str) or not model:
        raise ChatError(400, "you must provide a model parameter")
    options = request.get("stream_options") or {}
    if options and request.get("stream") is not True:
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise ChatError(400, message, param="stream_options")
    temperature = _parse_number(request, "temperature", "a number from 0 to 2", int | float, 0, 2)
    return ChatRequest(
        model=model,
        messages=_parse_messages(request),
        stream=request.get("stream") is True,
        include_usage=options.get("include_usage") is True,
        obfuscate=options.get("include_obfuscation") is not False,
        max_tokens=_parse_max_tokens(request, model),
        temperature=temperature,
    )


def _parse_messages(request: Body) -> list[Body]:
    messages = request.get("messages")
    if messages is None:
        message = "Missing required parameter: 'messages'."
        raise ChatError(400, message, param="messages", code="missing_required_parameter")
    if not isinstance(messages, list) or not messages:
        raise _invalid("messages", "an array of at least one message")
    return [_parse_message(message, f"messages[{index}]") for index, message in enumerate(messages)]


def _parse_message(message: Any, where: str) -> Body:
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


def _parse_max_tokens(request: Body, model: str) -> int | None:
    old, new = request.get("max_tokens"), request.get("max_completion_tokens")
    if old is not None and REASONING.match(model):
        raise ChatError(400, OLD_LIMIT, param="max_tokens", code="unsupported_parameter")
    if old is not None and new is not None:
        raise ChatError(400, TWO_LIMITS, param="max_tokens", code="invalid_parameter_combination")
    name = "max_tokens" if new is None else "max_completion_tokens"
    limit: int | None = _parse_number(request, name, "an integer >= 1", int, 1, 1 << 20)
    return limit


def _parse_number(request: Body, name: str, expected: str, kind: Any, low: int, high: int) -> Any:
    value = request.get(name)
    is_number = isinstance(value, kind) and not isinstance(value, bool)
    if value is not None and not (is_number and low <= value <= high):
        raise _invalid(name, expected)
    return value


def _invalid(param: str, expected: str) -> ChatError:
    message = f"Invalid value for '{param}': expected {expected}."
    return ChatError(400, message, param=param, code="invalid_value")


@dataclass(frozen=True, slots=True)
class ChatService:
    """Answers HTTP requests with ``engines``."""

    engines: Engines
    faults: FaultSchedule
    require_key: bool

    async def answer(self, request: HttpRequest, client: HttpConnection) -> None:
        """Answer one request."""
        path = request.path.partition("?")[0]
        try:
            self._check_key(request)
            if path == "/v1/chat/completions" and request.method == "POST":
                faults = self.faults.begin("llm", "request")
                await faults.run(self._complete(request.body, client, faults))
            elif path.startswith("/v1/models") and request.method == "GET":
                await _respond(client, 200, self._list_models(path.removeprefix("/v1/models")))
            else:
                raise ChatError(404, f"Invalid URL ({request.method} {path})")
        except ChatError as error:
            await _respond(client, error.status, error.body)
        except HalfOpen:
            await asyncio.get_running_loop().create_future()  # until the client hangs up
        except ConnectionBroken:
            client.abort()

    def _check_key(self, request: HttpRequest) -> None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if self.require_key and not (scheme.lower() == "bearer" and key.strip()):
            message = "You didn't provide an API key."
            raise ChatError(401, message, code="invalid_api_key")

    def _list_models(self, name: str) -> Body:
        known = {
            model: {"id": model, "object": "model", "created": 0, "owned_by": "voicecli"}
            for model in (MODEL, self.engines.name, *self.engines.models)
        }
        if name in ("", "/"):
            return {"object": "list", "data": list(known.values())}
        if name[1:] not in known:
            raise _not_found(name[1:])
        return known[name[1:]]

    async def _complete(self, body: bytes, client: HttpConnection, faults: ActiveFaults) -> None:
        if refuse := faults.find("refuse"):
            raise ChatError(refuse.status)
        request = parse_chat_request(body)
        known = (self.engines.name, *self.engines.models)
        if not (request.model.startswith(MODEL_PREFIX) or request.model in known):
            raise _not_found(request.model)
        completion = CompletionFormat(request)
        reply = self.engines.llm.reply(
            request.messages,
            model=request.model,
            max_tokens=request.max_tokens,
            temperature=request.temperature,
        )
        async with aclosing(reply) as tokens, aclosing(completion.stream(tokens)) as chunks:
            if not request.stream:
                answer = completion.format([token async for token in tokens])
                await faults.wait_out_stall()
                await _respond(client, 200, answer)
                return
            headers = {"content-type": "text/event-stream; charset=utf-8", **_request_id()}
            await client.start(200, headers)
            async for chunk in chunks:
                await faults.wait_out_stall()
                await client.send(h11.Data(data=f"data: {faults.corrupt(chunk)}\n\n".encode()))
        await client.send(h11.Data(data=b"data: [DONE]\n\n"), h11.EndOfMessage())


class CompletionFormat:
    """Formats one completion as JSON."""

    def __init__(self, request: ChatRequest) -> None:
        self._request = request
        self._head = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(datetime.now(UTC).timestamp()),
            "model": request.model,
            "system_fingerprint": None,
        }

    def format(self, tokens: list[str]) -> Body:
        """Make the answer to a request that is not streamed."""
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": "".join(tokens), "refusal": None},
            "logprobs": None,
            "finish_reason": self._finish_reason(len(tokens)),
        }
        usage = self._count_usage(len(tokens))
        return self._head | {"object": "chat.completion", "choices": [choice], "usage": usage}

    async def stream(self, tokens: AsyncIterator[str]) -> AsyncGenerator[str, None]:
        """Generate the chunks of a stream."""
        count = 0
        yield self._format_chunk({"role": "assistant", "content": ""})
        async for token in tokens:
            count += 1
            yield self._format_chunk({"content": token})
        yield self._format_chunk({}, finish=self._finish_reason(count))
        if self._request.include_usage:
            yield self._format_chunk(None, tokens=count)

    def _format_chunk(
        self, delta: Body | None, *, finish: str | None = None, tokens: int | None = None
    ) -> str:
        """Make one chunk of a stream: with a delta, or with the usage for ``tokens`` tokens."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        body = self._head | {"object": "chat.completion.chunk"}
        body["choices"] = [] if delta is None else [choice]
        if self._request.include_usage:
            body["usage"] = None if tokens is None else self._count_usage(tokens)
        if self._request.obfuscate:  # padding that hides the length of the token
            text = delta.get("content", "") if delta else ""
            body["obfuscation"] = uuid.uuid4().hex[: max(0, 16 - len(text))]
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"))

    def _finish_reason(self, tokens: int) -> str:
        limit = self._request.max_tokens
        return "length" if limit is not None and tokens >= limit else "stop"

    def _count_usage(self, tokens: int) -> Body:
        """Count the usage; the prompt in words, since the real tokenizer is not here."""
        prompt = sum(len(message["content"].split()) for message in self._request.messages)
        total = prompt + tokens
        counts = {"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": total}
        return counts | USAGE_DETAILS


def _not_found(model: str) -> ChatError:
    message = f"The model `{model}` does not exist or you do not have access to it."
    return ChatError(404, message, param="model", code="model_not_found")


def _request_id() -> dict[str, str]:
    return {"x-request-id": f"req_{uuid.uuid4().hex}"}


async def _respond(client: HttpConnection, status: int, body: Body) -> None:
    headers = {"content-type": "application/json", **_request_id()}
    await client.respond(status, headers, json.dumps(body).encode())
