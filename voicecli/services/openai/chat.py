"""The LLM: chat completions, streamed, over HTTP connections that are kept warm.

The ``openai`` package sends the requests.  The answers are read from its raw response: its own
stream hides how a reply ends, and gives up at the first chunk that is not JSON.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from voicecli import clock
from voicecli.environment.network import Proxy, create_tls_context
from voicecli.errors import UsageError
from voicecli.events import Warned
from voicecli.loading import Library
from voicecli.sanitize import sanitize_short
from voicecli.services.endpoint import Endpoint, check_key, check_url
from voicecli.services.interfaces import LanguageModel, Message, Piece, Truncated
from voicecli.services.openai.answer import Answer, Wait
from voicecli.services.openai.body import Frame
from voicecli.services.openai.errors import ErrorFactory, find_request_id
from voicecli.services.openai.library import http_library, library
from voicecli.services.openai.models import HOST, check_model, choose_model, find_model
from voicecli.services.openai.problems import find_error, read_problem
from voicecli.services.openai.reply import ReplyReader
from voicecli.services.openai.request import ChatRequest
from voicecli.services.openai.settings import API_URL, URL_ENV, ChatSettings
from voicecli.services.provider import Handshake, LlmProvider, ServiceAddress
from voicecli.units import Seconds

if TYPE_CHECKING:
    import httpx2
    from openai import AsyncOpenAI

_log = logging.getLogger(__name__)

KEEP_WARM: Seconds = 300.0
"""How long an idle connection is kept; httpx2's 5 s cost a TLS handshake at most turns."""

USAGE_TIMEOUT: Seconds = 0.5
"""How long to wait for the token counts after the last token."""

_FIELD_STATUSES = (400, 422, 501)
"""The statuses with which servers refuse a field of a request."""


_HEADERS = {"OpenAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID"}
"""The headers that the package fills from variables, whatever these hold."""


@dataclass(eq=False)
class ChatCompletions(LanguageModel):
    """An LLM whose connections are kept warm.

    notes: what the user should know, a sentence each; told with the first reply.
    """

    settings: ChatSettings
    endpoint: Endpoint
    address: ServiceAddress
    tls: ssl.SSLContext | None = None
    proxy: Proxy | None = None
    notes: list[str] = field(default_factory=list)
    request_id: str = ""

    def __post_init__(self) -> None:
        self._errors = ErrorFactory(self.endpoint, self.settings, self.proxy)
        self._request = ChatRequest(self.settings, is_openai=self.endpoint.host == HOST)
        self.notes += self._request.advice
        self._warned: set[str] = set()

    @cached_property
    def http_client(self) -> httpx2.AsyncClient:
        """The connections; created by the first request or ``warm``, once httpx2 is loaded."""
        import httpx2

        proxy = self.proxy
        tls = self.tls if proxy is not None and proxy.secure else None
        transport: httpx2.AsyncBaseTransport = httpx2.AsyncHTTPTransport(
            limits=httpx2.Limits(keepalive_expiry=KEEP_WARM),
            trust_env=False,
            proxy=httpx2.Proxy(proxy.url, ssl_context=tls) if proxy is not None else None,
            verify=self.tls or False,  # False: loopback, without TLS
        )
        if self.address.recorder is not None:
            from voicecli.services.openai.recording import RecordedTransport

            transport = RecordedTransport(transport, self.address.recorder, self.endpoint.path)
        return httpx2.AsyncClient(
            timeout=httpx2.Timeout(None, connect=self.settings.connect_timeout),  # others: here
            transport=transport,
            trust_env=False,
        )

    async def close(self) -> None:
        """Close the connections."""
        if "http_client" in self.__dict__:
            await self.http_client.aclose()

    @cached_property
    def client(self) -> AsyncOpenAI:
        """The library's client, on the connections of ``http_client``."""
        from openai import AsyncOpenAI

        return AsyncOpenAI(
            api_key=self.address.key or "unused",
            base_url=self.endpoint.http_url(),
            timeout=self.http_client.timeout,
            max_retries=0,  # a retry must show in the turn, so it is the caller's
            http_client=self.http_client,
        )

    @override
    async def load(self) -> None:
        await _load(http_library)
        await _load(library)

    @override
    async def reply(self, messages: Sequence[Message]) -> AsyncGenerator[Piece, None]:
        await self.load()
        while self.notes:
            yield _warn(self.notes.pop(0))
        wait = Wait()
        wait.restart(self.settings.first_token_timeout, "word")
        accepted = False
        while not accepted:
            sent = self._request.build(messages)
            answer = Answer(await self._send(sent, wait), self._errors, wait)
            try:
                if accepted := answer.response.is_success:
                    self.request_id = find_request_id(answer.response) or ""
                    async with aclosing(self._read(answer)) as pieces:
                        async for piece in pieces:
                            yield piece
                    continue
                problem = await answer.read_problem()
                refused = answer.response.status_code in _FIELD_STATUSES
                advice = self._request.adapt(sent, problem) if refused else None
                if advice is None:
                    raise self._errors.refuse(answer.response, problem, sent)
                for sentence in advice:
                    yield _warn(sentence)
            finally:
                await answer.response.aclose()

    async def _read(self, answer: Answer) -> AsyncGenerator[Piece, None]:
        """Yield the pieces of a reply."""
        reply = ReplyReader()
        while (frames := await answer.read_frames(complete=bool(reply.finish))) is not None:
            for frame in frames:
                for piece in self._take(frame, reply, answer):
                    yield piece
            if reply.done:
                await answer.drain()
                break
        reply.done = reply.done or answer.whole
        if (lack := self._errors.find_lack(answer.response, reply)) is not None:
            raise lack
        if reply.truncated:
            yield Truncated(reply.truncated)
        if reply.usage is not None:
            ignored = self._request.find_ignored_limit(reply.usage.completion_tokens)
            if ignored and "limit" not in self._warned:
                self._warned.add("limit")
                yield _warn(ignored)
            yield reply.usage

    def _take(self, frame: Frame, reply: ReplyReader, answer: Answer) -> Iterator[Piece]:
        """Take the next event of a reply, and move the time by which another one must come."""
        if (problem := find_error(frame)) is not None:
            raise self._errors.report(answer.response, problem)
        finished = reply.finish
        if text := reply.read(frame):
            yield text  # a slow listener must not shorten the wait
            answer.wait.restart(self.settings.token_timeout, "further word")
        if reply.finish and not (finished and text):  # some servers finish every chunk
            answer.wait.deadline = clock.now() + USAGE_TIMEOUT
        yield from self._find_warnings(reply)

    def _find_warnings(self, reply: ReplyReader) -> Iterator[Warned]:
        """Warn, once in a session, of what is ignored."""
        if reply.odd and "chunk" not in self._warned:
            self._warned.add("chunk")
            yield _warn(f"skipped a chunk that is not understood: {reply.odd}")
        if reply.tools and reply.said and "tool" not in self._warned:
            self._warned.add("tool")
            yield _warn(f"the model {reply.describe_tools()}")

    async def _send(self, fields: Mapping[str, Any], wait: Wait) -> httpx2.Response:
        """Send a request; return the response before its body, but for one that is refused."""
        import httpx2
        import openai

        headers = _make_headers(self.address)
        try:
            async with asyncio.timeout_at(wait.deadline):
                answer = await self.client.chat.completions.with_raw_response.create(
                    model=self.settings.model,
                    # The library validates each message, type by type: 17 ms for 40 of them.  It
                    # validates nothing in the extra body, which takes precedence.
                    messages=[],
                    stream=True if "stream" in fields else openai.omit,
                    extra_body=fields,
                    extra_headers={
                        name: headers.get(name) or openai.omit
                        for name in ("Authorization", *_HEADERS)
                    },
                )
            return answer.http_response
        except TimeoutError:
            raise self._errors.expire(wait.late, None) from None
        except openai.APIStatusError as error:
            return error.response
        except openai.APIConnectionError as error:
            raise self._errors.disconnect(error.__cause__ or error, None) from None
        except httpx2.HTTPError as error:  # of the body of a refusal, which the library reads
            lost = httpx2.RemoteProtocolError(str(error))  # without the library's own context
            raise self._errors.disconnect(lost, None) from None

    @override
    async def warm(self) -> None:
        await _load(http_library)
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
            raise self._errors.refuse(response, read_problem(response.content), {})


@asynccontextmanager
async def open_chat(
    settings: ChatSettings, address: ServiceAddress
) -> AsyncGenerator[ChatCompletions, None]:
    """Open an LLM; it connects at the first reply.

    Raises ProfileError for the URL, CredentialsError without a usable key, UsageError for a
    variable of the environment that cannot be used, and for a model that OpenAI has shut down.
    """
    endpoint = check_url("llm", address.url)
    is_openai = endpoint.host == HOST
    notes = list(check_model(settings, datetime.now(UTC).date())) if is_openai else []
    check_key("llm", endpoint, address.key, address.key_env)
    _check_variables()
    proxy = endpoint.find_proxy(websocket=False)
    tls = create_tls_context() if endpoint.secure else None
    chat = ChatCompletions(settings, endpoint, address, tls, proxy, notes)
    try:
        yield chat
    finally:
        await chat.close()


async def _load(which: Library) -> None:
    if not which.loaded:
        await asyncio.to_thread(which.load)


def _check_variables() -> None:
    """Raise UsageError for a variable that cannot be sent as a header."""
    values = {name: [os.environ.get(name, "").strip()] for name in _HEADERS.values()}
    values["OPENAI_CUSTOM_HEADERS"] = os.environ.get("OPENAI_CUSTOM_HEADERS", "").splitlines()
    for name, lines in values.items():
        if not all(line.isascii() and line.isprintable() for line in lines):
            raise UsageError(
                f"LLM: {name} contains an invalid character", hint="Correct it, or unset it."
            )


def _make_headers(address: ServiceAddress) -> dict[str, str]:
    """The headers that say who asks."""
    headers = {"Authorization": f"Bearer {address.key}"} if address.key else {}
    for header, variable in _HEADERS.items():
        if value := os.environ.get(variable, "").strip():
            headers[header] = value
    return headers


def _handshake(settings: ChatSettings, address: ServiceAddress) -> Handshake:
    return Handshake(
        path=f"/models/{settings.model}",
        websocket=False,
        headers=_make_headers(address),
        timeout=max(settings.connect_timeout, 5.0),
    )


def _list_price(settings: ChatSettings) -> tuple[float, ...] | None:
    """Of prompt and reply; cached prompts are half as much, or less."""
    model = find_model(settings.model)
    return model.price if model is not None else None


CHAT_COMPLETIONS = LlmProvider(
    settings=ChatSettings,
    open=open_chat,
    handshake=_handshake,
    url=API_URL,
    url_env=URL_ENV,
    standin="openai",
    list_price=_list_price,
    choose_model=choose_model,
    load=library.load,
)


def _warn(text: str) -> Warned:
    return Warned(at=clock.now(), service="llm", text=text)
