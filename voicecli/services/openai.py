"""The LLM: chat completions, streamed, from OpenAI or any server that speaks its protocol."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, cast

from typing_extensions import override

from voicecli import clock
from voicecli.errors import ServiceError, StalledError
from voicecli.sanitize import replace_surrogates, sanitize_short
from voicecli.services.endpoint import (
    Endpoint,
    Refusal,
    check_key,
    check_url,
    declare_key_env,
    declare_url,
)
from voicecli.services.interfaces import (
    Handshake,
    LanguageModel,
    LlmProvider,
    LlmSettings,
    Message,
    ServiceAddress,
    Usage,
)
from voicecli.services.openai_library import library
from voicecli.settings import setting, timeout
from voicecli.units import Seconds

if TYPE_CHECKING:
    import httpx2
    from openai import AsyncOpenAI, AsyncStream
    from openai.types.chat import ChatCompletionChunk

    Chunks = AsyncStream[ChatCompletionChunk]

_log = logging.getLogger(__name__)

API_URL = "https://api.openai.com/v1"
URL_ENV = "OPENAI_BASE_URL"

KEEP_WARM: Seconds = 300.0
"""How long an idle connection is kept; the library's 5 s cost a TLS handshake at most turns."""

USAGE_TIMEOUT: Seconds = 0.5
"""How long to wait for the token counts after the last token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatSettings(LlmSettings):
    """The language model: OpenAI's chat completions, or a server that speaks the same protocol."""

    base_url: str | None = declare_url(URL_ENV, API_URL)
    key_env: str = declare_key_env("OPENAI_API_KEY")
    model: str = setting("gpt-4o-mini", "Name of the model.")
    max_tokens_name: Literal["max_completion_tokens", "max_tokens"] = setting(
        "max_completion_tokens",
        "What the server calls max_tokens; Ollama and others know max_tokens only.",
    )
    temperature: float | None = setting(
        0.4, "null: the server's own, for models that refuse the parameter.", ge=0, le=2
    )
    connect_timeout: Seconds = timeout(2000, "Time to open a connection.")
    first_token_timeout: Seconds = timeout(4000, "From the request to the first token.")
    token_timeout: Seconds = timeout(3000, "From one token to the next.")
    extra: Mapping[str, Any] = setting(
        {}, "Further fields of the request, passed as they are (reasoning_effort, …)."
    )


_STATUSES = {
    400: Refusal("a setting is refused", "Check `llm` in the profile."),
    401: Refusal("the key is refused", "Check {key_env}."),
    402: Refusal("the account has no credit left", "Top it up; waiting does not help."),
    403: Refusal("the key may not do this", "Check what the key in {key_env} may do."),
    404: Refusal("there is no such service at {host}", "Check `llm.base_url` in the profile."),
    429: Refusal("too many requests or tokens a minute", "Try again later.", temporary=True),
}
_FAILED = Refusal("{host} failed", "Try again later.", temporary=True)
_REFUSED = Refusal("{host} refuses the request")
_NO_MODEL = Refusal("the model {model} does not exist (any more)", "Change `llm.model`.")
_MAX_TOKENS = Refusal("a setting is refused", "Check `llm.max_tokens` and `llm.max_tokens_name`.")


@dataclass(eq=False)
class ChatCompletions(LanguageModel):
    """An LLM whose connections are kept warm."""

    settings: ChatSettings
    endpoint: Endpoint
    address: ServiceAddress
    http_client: httpx2.AsyncClient
    request_id: str = ""

    @cached_property
    def client(self) -> AsyncOpenAI:
        """The library's client, on the connections of ``http_client``."""
        import openai

        return openai.AsyncOpenAI(
            api_key=self.address.key or "unused",
            base_url=self.endpoint.http_url(),
            timeout=self.http_client.timeout,
            max_retries=0,  # a retry must show in the turn, so it is the caller's
            http_client=self.http_client,
        )

    @override
    async def load(self) -> None:
        if not library.loaded:
            await asyncio.to_thread(library.load)

    @override
    async def reply(self, messages: Sequence[Message]) -> AsyncGenerator[str | Usage, None]:
        await self.load()
        settings = self.settings
        deadline = clock.now() + settings.first_token_timeout
        late = f"no word within {settings.first_token_timeout:g} s"
        stream = await self._request(messages, deadline, late)
        self.request_id = _request_id(stream) or ""
        usage, finished = None, False
        try:
            while (chunk := await self._next(stream, deadline, late, finished)) is not None:
                usage = _usage(chunk) or usage
                if text := _content(chunk):
                    yield text
                    deadline = clock.now() + settings.token_timeout
                    late = f"no further word within {settings.token_timeout:g} s"
                if _finishes(chunk):
                    finished, deadline = True, clock.now() + USAGE_TIMEOUT
        finally:
            await stream.close()
        if not finished:
            raise ServiceError(
                "llm", "the reply broke off", request_id=_request_id(stream), temporary=True
            )
        if usage is not None:
            yield usage

    @override
    async def warm(self) -> None:
        # Without the library, which need not be loaded yet.
        import httpx2

        handshake = _handshake(self.settings, self.address)
        url = self.endpoint.http_url() + handshake.path
        try:
            async with asyncio.timeout(self.settings.first_token_timeout):
                response = await self.http_client.get(url, headers=handshake.headers)
        except (TimeoutError, httpx2.HTTPError, httpx2.InvalidURL) as error:
            _log.info("LLM: warming up failed: %s", sanitize_short(str(error)))
            return
        if response.status_code == 401:
            request_id = response.headers.get("x-request-id")
            raise self._translate_status(401, _parse_error(response.content), request_id)

    # Errors are raised "from None": the library's own may quote a part of the key.

    async def _request(self, messages: Sequence[Message], deadline: Seconds, late: str) -> Chunks:
        import openai

        settings = self.settings
        prompt = [{"role": item.role, "content": item.content} for item in messages]
        request: dict[str, Any] = {
            "model": settings.model,
            # The library validates each message, type by type: 17 ms for 40 of them, before the
            # request leaves.  It validates nothing in the extra body, which takes precedence.
            "messages": [],
            "stream": True,
            "stream_options": {"include_usage": True},
            settings.max_tokens_name: settings.max_tokens,
            "extra_body": {"messages": prompt, **settings.extra},
        }
        if settings.temperature is not None:
            request["temperature"] = settings.temperature
        try:
            async with asyncio.timeout_at(deadline):
                return cast("Chunks", await self.client.chat.completions.create(**request))
        except (TimeoutError, openai.APIError) as error:
            raise self._translate(error, late) from None

    async def _next(
        self, stream: Chunks, deadline: Seconds, late: str, finished: bool
    ) -> ChatCompletionChunk | None:
        """The next chunk; None at the end, or for any failure after the last token."""
        import openai

        try:
            async with asyncio.timeout_at(deadline):
                return await anext(stream)
        except StopAsyncIteration:
            return None
        except (TimeoutError, ValueError, openai.APIError) as error:
            if finished:
                return None
            raise self._translate(error, late, _request_id(stream)) from None

    def _translate(
        self, error: Exception, late: str, request_id: str | None = None
    ) -> ServiceError:
        """Translate an exception of the library, or a time-out; ``late`` describes the latter."""
        import openai

        host, hint, temporary = self.endpoint.authority, "", True
        match error:
            case openai.APIStatusError():
                return self._translate_status(error.status_code, error.body, error.request_id)
            case openai.APITimeoutError():
                cause = f"no connection to {host} within {self.settings.connect_timeout:g} s"
                hint = "Check the network."
            case openai.APIConnectionError():
                cause = f"the connection to {host} failed ({_root_cause(error)})"
                hint = "Check the network and `llm.base_url`."
            case openai.APIError(code="insufficient_quota"):
                cause, hint, temporary = _STATUSES[402]
            case openai.APIError():
                cause = f"the reply broke off ({_message(error.body) or 'it does not say why'})"
            case TimeoutError():
                cause = late
            case _:
                cause = "the service sent something that is not JSON"
        kind = StalledError if isinstance(error, TimeoutError) else ServiceError
        return kind("llm", cause, hint=hint, request_id=request_id, temporary=temporary)

    def _translate_status(self, status: int, body: object, request_id: str | None) -> ServiceError:
        """Translate a status other than 200; body: the ``error`` in what came with it."""
        message, code = _message(body), body.get("code") if isinstance(body, dict) else None
        meaning = _STATUSES.get(status, _FAILED if status >= 500 else _REFUSED)
        if code == "insufficient_quota":  # comes as a 429
            meaning = _STATUSES[402]
        elif status == 404 and (code == "model_not_found" or "model" in message.lower()):
            meaning = _NO_MODEL
        elif status in (400, 422) and re.search("max_(completion_)?tokens", message):
            meaning = _MAX_TOKENS
        return meaning.create_error(
            "llm",
            status,
            message,
            request_id=request_id,
            host=self.endpoint.authority,
            key_env=self.settings.key_env,
            model=sanitize_short(self.settings.model),
        )


@asynccontextmanager
async def open_chat(
    settings: ChatSettings, address: ServiceAddress
) -> AsyncGenerator[ChatCompletions, None]:
    """Open an LLM; it connects at the first reply.  Raises ProfileError or CredentialsError."""
    endpoint = check_url("llm", address.url)
    check_key("llm", endpoint, address.key, address.key_env)
    import httpx2  # 60 ms; openai is loaded when the first reply needs it, or ahead by ``load``

    async with httpx2.AsyncClient(
        timeout=httpx2.Timeout(None, connect=settings.connect_timeout),  # the rest is timed here
        limits=httpx2.Limits(keepalive_expiry=KEEP_WARM),
        trust_env=not endpoint.loopback,  # a proxy has no business on loopback
        verify=endpoint.secure,  # without TLS, no 25 ms for loading the authorities
    ) as http_client:
        yield ChatCompletions(settings, endpoint, address, http_client)


def _handshake(settings: ChatSettings, address: ServiceAddress) -> Handshake:
    headers = {"Authorization": f"Bearer {address.key}"} if address.key else {}
    return Handshake(
        path=f"/models/{settings.model}",
        websocket=False,
        headers=headers,
        timeout=max(settings.connect_timeout, 5.0),
    )


def _list_price(settings: ChatSettings) -> tuple[float, ...] | None:
    """Of prompt and reply; cached prompts are half as much."""
    return {"gpt-4o-mini": (0.15, 0.60)}.get(settings.model)


CHAT_COMPLETIONS = LlmProvider(
    settings=ChatSettings,
    open=open_chat,
    handshake=_handshake,
    url=API_URL,
    url_env=URL_ENV,
    standin="openai",
    list_price=_list_price,
)


def _choice(chunk: object) -> object:
    """The first choice.  Any field may be missing or odd: OpenAI's is not the only server."""
    choices = getattr(chunk, "choices", None)
    return choices[0] if isinstance(choices, list) and choices else None


def _content(chunk: object) -> str:
    content = getattr(getattr(_choice(chunk), "delta", None), "content", None)
    return replace_surrogates(content) if isinstance(content, str) else ""


def _finishes(chunk: object) -> bool:
    return bool(getattr(_choice(chunk), "finish_reason", None))


def _usage(chunk: object) -> Usage | None:
    usage = getattr(chunk, "usage", None)
    prompt, reply = (getattr(usage, f"{of}_tokens", None) for of in ("prompt", "completion"))
    return Usage(prompt, reply) if isinstance(prompt, int) and isinstance(reply, int) else None


def _message(body: object) -> str:
    """The message in an error's body."""
    message = body.get("message") if isinstance(body, dict) else body
    return sanitize_short(message) if isinstance(message, str) else ""


def _parse_error(body: bytes) -> object:
    """The ``error`` in the JSON of a refusal, as the library finds it."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return body.decode(errors="replace")
    return parsed.get("error", parsed) if isinstance(parsed, dict) else parsed


def _root_cause(error: BaseException) -> str:
    """The message of the exception that the libraries wrapped."""
    while error.__cause__ is not None:
        error = error.__cause__
    return sanitize_short(str(error)) or type(error).__name__


def _request_id(stream: Chunks) -> str | None:
    return sanitize_short(stream.response.headers.get("x-request-id", "")) or None
