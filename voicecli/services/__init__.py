"""The services: adapters by role and name, and the protocols the pipeline knows them by.

A service is added with its file and one line here.  The line names the adapter's ``Provider``
instead of importing it: a profile needs only one of each, and none of their libraries.
"""

from __future__ import annotations

from pkgutil import resolve_name
from typing import cast

from voicecli.services.interfaces import LlmProvider, Provider, SttProvider, TtsProvider

PRICES_OF = "2026-08"
"""When the adapters' list prices were last compared with those of the sources."""

PRICE_SOURCES = ("https://deepgram.com/pricing", "https://openai.com/api/pricing")

PROVIDERS: dict[str, dict[str, str]] = {
    "stt": {"deepgram": "voicecli.services.deepgram.nova:NOVA"},
    "llm": {"openai": "voicecli.services.openai:CHAT_COMPLETIONS"},
    "tts": {"deepgram": "voicecli.services.deepgram.aura:AURA"},
}


def find_provider(role: str, name: str) -> Provider:
    """The provider called ``name`` for "stt", "llm" or "tts"; raises KeyError."""
    return cast(Provider, resolve_name(PROVIDERS[role][name]))


def find_stt(name: str) -> SttProvider:
    """The STT called ``name``; raises KeyError."""
    return cast(SttProvider, find_provider("stt", name))


def find_llm(name: str) -> LlmProvider:
    """The language model called ``name``; raises KeyError."""
    return cast(LlmProvider, find_provider("llm", name))


def find_tts(name: str) -> TtsProvider:
    """The TTS called ``name``; raises KeyError."""
    return cast(TtsProvider, find_provider("tts", name))
