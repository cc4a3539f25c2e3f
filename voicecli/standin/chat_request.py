"""A chat completion as it is asked for, and what the service refuses."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

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
