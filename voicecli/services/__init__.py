"""The services: adapters by role and name, and the protocols the pipeline knows them by.

A service is added with its file and one line here.  The line names the adapter's ``Provider``
instead of importing it: a profile needs only one of each, and none of their libraries.
"""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Any

PRICES_OF = "2026-08"
"""When the adapters' list prices were last compared with those of the sources."""

PRICE_SOURCES = ("https://deepgram.com/pricing", "https://openai.com/api/pricing")

PROVIDERS: dict[str, dict[str, str]] = {
    "stt": {
        "deepgram": "voicecli.services.deepgram.nova:NOVA",
        "deepgram-flux": "voicecli.services.deepgram.flux_stt:FLUX_STT",
    },
    "llm": {"openai": "voicecli.services.openai.chat:CHAT_COMPLETIONS"},
    "tts": {
        "deepgram": "voicecli.services.deepgram.aura:AURA",
        "deepgram-flux": "voicecli.services.deepgram.flux_tts:FLUX_TTS",
    },
}


def find_provider(role: str, name: str) -> Any:
    """Return the ``Provider`` called ``name`` for "stt", "llm" or "tts"; raises KeyError."""
    return resolve_name(PROVIDERS[role][name])
