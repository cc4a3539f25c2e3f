"""A service as the program offers it: where it is, how it is opened, what it costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal

from voicecli.services.interfaces import (
    LanguageModel,
    SttCapabilities,
    Synthesizer,
    Transcriber,
    TtsCapabilities,
)
from voicecli.services.recording import ServiceRecorder
from voicecli.units import Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAddress:
    """Where a service is and how to authenticate; comes from the environment, not from a profile.

    key_env: the name of the variable that holds the key, for messages.
    recorder: is told what is said on the way there; None: nothing is recorded.
    refused: requests that the service turned out not to take, which no later connection makes; kept
        by the adapter for all connections of a run.
    """

    url: str
    key: str = field(repr=False)
    key_env: str
    recorder: ServiceRecorder | None = None
    refused: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """The request that opens a connection, for measuring the way to a service.

    path: path and query, below the service's URL.
    websocket: whether it opens a WebSocket; otherwise it is a GET that costs nothing.
    headers: of the request, the key among them.
    goodbye: the message after which the service closes the WebSocket; "" to just close it.
    timeout: seconds to open the connection.
    """

    path: str
    websocket: bool
    headers: Mapping[str, str] = field(repr=False)
    timeout: Seconds
    goodbye: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A service in one role: what the program must know to offer it.

    settings: its section of a profile; has ``base_url`` and ``key_env`` besides its own.
    url: where the service is, unless the profile or the variable ``url_env`` says otherwise.
    standin: which wire protocol it speaks, for the local stand-ins.
    list_price: US dollars, from the settings; None where they are not known.  STT: (per minute of
        audio); LLM: (per million prompt tokens, per million reply tokens); TTS: (per 1000
        characters).
    handshake: takes the same as ``open`` of the role.
    connections: that the smallest plan allows at once; None: not limited, or not known.
    """

    settings: type[Any]
    url: str
    url_env: str
    standin: Literal["deepgram", "openai"]
    list_price: Callable[[Any], tuple[float, ...] | None]
    handshake: Callable[..., Handshake]
    connections: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SttProvider(Provider):
    """A provider of speech to text; its functions take the audio's sample rate in hertz, too."""

    capabilities: SttCapabilities
    open: Callable[[Any, ServiceAddress, int], AbstractAsyncContextManager[Transcriber]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmProvider(Provider):
    """A provider of a language model.

    choose_model: returns the settings with another model, without what it is known to refuse.
    load: loads what the first reply needs, which takes the processor; blocks, any thread may call.
    """

    choose_model: Callable[[Any, str], Any]
    open: Callable[[Any, ServiceAddress], AbstractAsyncContextManager[LanguageModel]]
    load: Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TtsProvider(Provider):
    """A provider of text to speech."""

    capabilities: TtsCapabilities
    open: Callable[[Any, ServiceAddress], AbstractAsyncContextManager[Synthesizer]]
