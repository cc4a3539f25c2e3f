"""Deepgram Flux: microphone audio in, turns out (``/v2/listen``).

The service decides when a turn has ended; or the program does, and tells it with ForceEndTurn.
https://developers.deepgram.com/reference/speech-to-text/listen-flux
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlencode

from voicecli.services.deepgram import API_URL, KEY_ENV, URL_ENV, create_handshake
from voicecli.services.deepgram.flux_stt_connection import FluxListener, receive_connected
from voicecli.services.deepgram.nova import CLOSE
from voicecli.services.endpoint import declare_key_env, declare_url
from voicecli.services.interfaces import SttCapabilities, SttSettings
from voicecli.services.provider import Handshake, ServiceAddress, SttProvider
from voicecli.settings import SettingsConflict, milliseconds, setting, timeout
from voicecli.units import Seconds, ms

MULTILINGUAL = "flux-general-multi"

SAMPLE_RATES = (8000, 16_000, 24_000, 44_100, 48_000)

Language = Literal["de", "en", "es", "fr", "hi", "it", "ja", "nl", "pt", "ru"]

KEYTERMS, KEYTERM_TOKENS = 100, 500
CHARACTERS_PER_TOKEN = 4
"""Usual in English; the service counts exactly, and refuses the connection."""

PRICES = {"flux-general-en": 0.0065, MULTILINGUAL: 0.0078}
"""US dollars a minute, pay as you go (deepgram.com/pricing on 2026-11-04)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FluxSttSettings(SttSettings):
    """Speech to text: Deepgram's /v2/listen."""

    base_url: str | None = declare_url(URL_ENV, "wss://api.deepgram.com")
    key_env: str = declare_key_env(KEY_ENV)
    model: Literal["flux-general-en", "flux-general-multi"] = setting(
        "flux-general-en", "The model: English, or ten languages."
    )
    eot_threshold: float = setting(
        0.7, "Confidence that ends a turn; 1: only time and ForceEndTurn do.", ge=0.5, le=1
    )
    eager_eot_threshold: float | None = setting(
        0.4,
        "Confidence on which a reply is drafted, at most eot_threshold; null: no drafts.",
        ge=0.3,
        le=0.9,
    )
    eot_timeout: Seconds = milliseconds(
        5000, "Silence that ends a turn, whatever the confidence.", ge=500, le=60_000
    )
    dictation_timeout: Seconds | None = milliseconds(
        2000,
        "The same within a number, an address or a spelled name; null: as any other turn.",
        ge=500,
        le=60_000,
    )
    keyterms: tuple[str, ...] = setting(
        (), "Words to listen for; at most 100, together about 500 tokens."
    )
    language_hints: tuple[Language, ...] = setting(
        (), "Languages to expect, flux-general-multi only."
    )
    numerals: bool = setting(False, "Digits for number words.")
    profanity_filter: bool = setting(False, "Mask swear words.")
    redact: Literal["numbers", "aggressive_numbers"] | None = setting(
        None, "Mask numbers, all of them or those that may be sensitive; null: none."
    )
    mip_opt_out: bool = setting(
        False, "Keep the audio out of the service's model improvement; may change the price."
    )
    tag: str | None = setting(None, "Label in the service's usage reports.", max_length=128)
    connect_timeout: Seconds = timeout(5000, "Time to open the connection.")

    def check(self) -> None:
        """Raise SettingsConflict for combinations that the service refuses."""
        eager = self.eager_eot_threshold
        if eager is not None and eager > self.eot_threshold:
            rule = f"eager_eot_threshold must be at most eot_threshold, {self.eot_threshold:g}"
            raise SettingsConflict(rule, "eager_eot_threshold", "eot_threshold")
        if self.language_hints and self.model != MULTILINGUAL:
            rule = f"language_hints need {MULTILINGUAL}, not {self.model}"
            raise SettingsConflict(rule, "language_hints", "model")
        if len(self.keyterms) > KEYTERMS:
            raise SettingsConflict(f"keyterms are more than {KEYTERMS}", "keyterms")
        if sum(map(len, self.keyterms)) > KEYTERM_TOKENS * CHARACTERS_PER_TOKEN:
            rule = f"keyterms are more than about {KEYTERM_TOKENS} tokens"
            raise SettingsConflict(rule, "keyterms")


def build_query(settings: FluxSttSettings, sample_rate: int) -> list[tuple[str, str]]:
    """The query parameters, in order; the service refuses a name that it does not know."""
    query = [
        ("model", settings.model),
        ("encoding", "linear16"),
        ("sample_rate", str(sample_rate)),
        ("eot_threshold", f"{settings.eot_threshold:g}"),
        ("eot_timeout_ms", str(round(ms(settings.eot_timeout)))),
    ]
    if settings.eager_eot_threshold is not None:
        query.append(("eager_eot_threshold", f"{settings.eager_eot_threshold:g}"))
    query += [("keyterm", term) for term in settings.keyterms]
    query += [("language_hint", language) for language in settings.language_hints]
    for name in ("numerals", "profanity_filter", "mip_opt_out"):
        if getattr(settings, name):
            query.append((name, "true"))
    for name in ("redact", "tag"):
        if (value := getattr(settings, name)) is not None:
            query.append((name, value))
    return query


@asynccontextmanager
async def open_flux_stt(
    settings: FluxSttSettings, address: ServiceAddress, sample_rate: int
) -> AsyncGenerator[FluxListener, None]:
    """Connect to Flux, and wait until it is ready; leaving closes the connection.

    Raises as ``open_socket`` does, and ServiceError where the service is not ready in time.
    """
    from voicecli.services.deepgram.socket import open_socket  # websockets: 25 ms

    async with open_socket("stt", address, _handshake(settings, address, sample_rate)) as socket:
        early = await receive_connected(socket, settings.connect_timeout)
        yield FluxListener(
            socket,
            sample_rate,
            refused=address.refused,
            early=early,
            thresholds=_describe_thresholds(settings),
            dictation=_describe_dictation(settings),
        )


def _describe_thresholds(settings: FluxSttSettings) -> dict[str, float]:
    """The thresholds as a Configure states them."""
    eot, timeout_ms = settings.eot_threshold, round(ms(settings.eot_timeout))
    return {"eot_threshold": eot, "eot_timeout_ms": timeout_ms}


def _describe_dictation(settings: FluxSttSettings) -> dict[str, float]:
    """The thresholds within something that is dictated; the usual ones if they are the same."""
    if settings.dictation_timeout is None:
        return _describe_thresholds(settings)
    return {"eot_threshold": 1.0, "eot_timeout_ms": round(ms(settings.dictation_timeout))}


def _handshake(settings: FluxSttSettings, address: ServiceAddress, sample_rate: int) -> Handshake:
    path = "/v2/listen?" + urlencode(build_query(settings, sample_rate))
    return create_handshake(path, address, settings.connect_timeout, goodbye=CLOSE)


def _list_price(settings: FluxSttSettings) -> tuple[float, ...] | None:
    return (PRICES[settings.model],)


FLUX_STT = SttProvider(
    settings=FluxSttSettings,
    open=open_flux_stt,
    handshake=_handshake,
    url=API_URL,
    url_env=URL_ENV,
    standin="deepgram",
    list_price=_list_price,
    capabilities=SttCapabilities(
        sample_rates=SAMPLE_RATES, word_timestamps=True, end_of_turn_events=True
    ),
)
