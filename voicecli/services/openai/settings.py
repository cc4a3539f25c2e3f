"""The settings of the chat completions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from voicecli.services.endpoint import declare_key_env, declare_url
from voicecli.services.interfaces import LlmSettings
from voicecli.settings import setting, timeout
from voicecli.units import Seconds

API_URL = "https://api.openai.com/v1"
URL_ENV = "OPENAI_BASE_URL"

Limit = Literal["max_completion_tokens", "max_tokens"]
LIMITS: tuple[Limit, ...] = get_args(Limit)
"""The names that servers have for the limit of tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatSettings(LlmSettings):
    """The language model: OpenAI's chat completions, or a server that speaks the same protocol."""

    base_url: str | None = declare_url(URL_ENV, API_URL)
    key_env: str = declare_key_env("OPENAI_API_KEY")
    model: str = setting("gpt-4o-mini", "Name of the model.")
    max_tokens_name: Limit = setting(
        "max_completion_tokens",
        "What the server calls max_tokens; Ollama and LM Studio know max_tokens only.",
    )
    temperature: float | None = setting(
        0.4, "null: the server's own, for models that refuse the parameter.", ge=0, le=2
    )
    connect_timeout: Seconds = timeout(2000, "Time to open a connection.")
    first_token_timeout: Seconds = timeout(4000, "From the request to the first token.")
    token_timeout: Seconds = timeout(3000, "From one token to the next.")
    extra: Mapping[str, Any] = setting(
        {}, "Further fields of the request, as they are (reasoning_effort, …); null omits a field."
    )
