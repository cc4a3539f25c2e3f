"""What a connection to Deepgram's ``/v2/listen`` asks for, checked as the service checks it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from voicecli.standin.deepgram import Query, QueryError
from voicecli.units import Seconds

MULTILINGUAL = "flux-general-multi"
MODELS = ("flux-general-en", MULTILINGUAL)
NO_SUCH_MODEL = "Bad Request: No such model/language/tier combination found."
LANGUAGES = ("de", "en", "es", "fr", "hi", "it", "ja", "nl", "pt", "ru")
RATES = (8000, 16_000, 24_000, 44_100, 48_000)
ENCODINGS = ("linear16", "linear32", "mulaw", "alaw", "opus", "ogg-opus")
FLAGS = ("numerals", "profanity_filter", "mip_opt_out")
REDACTIONS = ("numbers", "aggressive_numbers")
NAMES = (
    *("model", "encoding", "sample_rate", "eot_threshold", "eager_eot_threshold", "eot_timeout_ms"),
    *("keyterm", "language_hint", "redact", "tag", *FLAGS),
)
"""All that the service knows; it refuses any other name."""

KEYTERMS, KEYTERM_TOKENS = 100, 500
TAG_LENGTH = 128

EOT = (0.5, 1.0)
EAGER = (0.3, 0.9)
TIMEOUT_MS = (500, 60_000)


class ThresholdError(ValueError):
    """Thresholds that the service refuses; the text says why."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The confidences on which the end of a turn is expected and found.

    eager: None for never.
    timeout: silence that ends a turn whatever the confidence.
    """

    eot: float = 0.7
    eager: float | None = None
    timeout: Seconds = 5.0

    def changed(self, values: Mapping[str, Any]) -> Thresholds:
        """Return them with those of a Configure; raises ThresholdError."""
        names = {
            "eot_threshold": "eot",
            "eager_eot_threshold": "eager",
            "eot_timeout_ms": "timeout",
        }
        given = {}
        for name, value in values.items():
            if name not in names:
                raise ThresholdError(f"unknown threshold {name}")
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ThresholdError(f"{name} must be a number")
            given[names[name]] = value / 1000 if name == "eot_timeout_ms" else value
        changed = replace(self, **given)
        changed.check()
        return changed

    def check(self) -> None:
        """Raise ThresholdError where the service would refuse them."""
        if not EOT[0] <= self.eot <= EOT[1]:
            raise ThresholdError("eot_threshold must be between 0.5 and 1.0")
        if self.eager is not None and not EAGER[0] <= self.eager <= EAGER[1]:
            raise ThresholdError("eager_eot_threshold must be between 0.3 and 0.9")
        if self.eager is not None and self.eager > self.eot:
            raise ThresholdError("eager_eot_threshold must be less than or equal to eot_threshold")
        if not TIMEOUT_MS[0] <= round(1000 * self.timeout) <= TIMEOUT_MS[1]:
            raise ThresholdError("eot_timeout_ms must be between 500 and 60000")

    def encode(self) -> dict[str, float]:
        """Return them as ConfigureSuccess states them."""
        values = {"eot_threshold": self.eot, "eot_timeout_ms": round(1000 * self.timeout)}
        return values if self.eager is None else {"eager_eot_threshold": self.eager, **values}


@dataclass(frozen=True, slots=True)
class FluxQuery:
    """The options of a connection; without a named encoding, the service expects a container."""

    model: str
    rate: int | None  # Hz, of the linear16 audio; None for a container
    thresholds: Thresholds
    keyterms: tuple[str, ...]
    language_hints: tuple[str, ...]


def parse_flux_query(query: Query) -> FluxQuery:
    """Parse the options; raise QueryError where the service would."""
    if (unknown := query.find_unknown(NAMES)) is not None:
        raise QueryError.unreadable(unknown, "unknown field")
    model = query.text("model", "")
    if model not in MODELS:
        raise QueryError(400, "Bad Request", NO_SUCH_MODEL)
    for name in FLAGS:
        query.flag(name)
    if any(value not in REDACTIONS for value in query.all("redact")):
        raise QueryError.unreadable("redact", f"expected one of {', '.join(REDACTIONS)}")
    if any(len(tag) > TAG_LENGTH for tag in query.all("tag")):
        raise QueryError.unreadable("tag", f"longer than {TAG_LENGTH} characters")
    terms, hints = query.all("keyterm"), query.all("language_hint")
    if len(terms) > KEYTERMS or sum(len(term.split()) for term in terms) > KEYTERM_TOKENS:
        raise QueryError(400, QueryError.INVALID, "Keyterm limit exceeded.")
    if hints and model != MULTILINGUAL:
        raise QueryError.unreadable("language_hint", f"only supported by {MULTILINGUAL}")
    if any(hint not in LANGUAGES for hint in hints):
        raise QueryError.unreadable("language_hint", f"expected one of {', '.join(LANGUAGES)}")
    return FluxQuery(model, _parse_rate(query), _parse_thresholds(query), (*terms,), (*hints,))


def _parse_rate(query: Query) -> int | None:
    if "encoding" not in query:
        return None
    encoding = query.text("encoding", "")
    if encoding not in ENCODINGS:
        raise QueryError.unreadable("encoding", f"unknown variant `{encoding}`")
    if encoding != "linear16":
        raise QueryError.unreadable("encoding", "this stand-in accepts linear16 only")
    if (rate := query.integer("sample_rate", 0)) not in RATES:
        raise QueryError.unreadable("sample_rate", f"unsupported value `{rate}`")
    return rate


def _parse_thresholds(query: Query) -> Thresholds:
    eager = "eager_eot_threshold"
    thresholds = Thresholds(
        eot=query.decimal("eot_threshold", 0.7),
        eager=query.decimal(eager, 0.0) if eager in query else None,
        timeout=query.integer("eot_timeout_ms", 5000) / 1000,
    )
    try:
        thresholds.check()
    except ThresholdError as error:
        raise QueryError(400, QueryError.INVALID, str(error)) from None
    return thresholds
