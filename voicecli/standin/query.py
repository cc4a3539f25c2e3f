"""The query string of a Deepgram connection, read as strictly as the service reads it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from voicecli.units import Seconds

INVALID = "INVALID_QUERY_PARAMETER"

REFUSALS = {
    401: ("INVALID_AUTH", "Invalid credentials."),
    402: (
        "ASR_PAYMENT_REQUIRED",
        "Project does not have enough credits for an ASR request "
        "and does not have an overage agreement.",
    ),
    403: (
        "INSUFFICIENT_PERMISSIONS",
        "Project does not have access to the requested model.",
    ),
    404: ("NOT_FOUND", "Not found."),
    429: ("TOO_MANY_REQUESTS", "Too many requests. Please try again later"),
    500: ("INTERNAL_SERVER_ERROR", "Internal server error."),
    503: ("Service Unavailable", "Please try again later"),
}
"""What the service says with each status; 404 and 500 are not published and are ours."""


class QueryError(Exception):
    """A connection is refused before the upgrade: HTTP status, ``err_code``, ``err_msg``."""

    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        usual = REFUSALS.get(status, ("ERROR", f"Error {status}."))
        self.status, self.code, self.message = status, code or usual[0], message or usual[1]
        super().__init__(status, self.code, self.message)


class Query:
    """The parameters of a request's path; a bad one raises Refusal.  Unknown ones are let pass."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self.path = parts.path
        self._values = parse_qs(parts.query, keep_blank_values=True)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def all(self, name: str) -> list[str]:
        """The values of a parameter that may be repeated."""
        return self._values.get(name, [])

    def text(self, name: str, default: str) -> str:
        """The value of a parameter; the last one counts."""
        return self._values.get(name, [default])[-1]

    def flag(self, name: str) -> bool:
        """A boolean: ``true`` or ``false``, nothing else (Python's ``True`` is refused)."""
        value = self.text(name, "false")
        if value not in ("true", "false"):
            raise undeserializable(name, "provided string was not `true` or `false`")
        return value == "true"

    def integer(self, name: str, default: int) -> int:
        """A whole number, not negative."""
        value = self.text(name, str(default))
        if not re.fullmatch(r"\d{1,9}", value):
            raise undeserializable(name, "invalid digit found in string")
        return int(value)

    def decimal(self, name: str, default: float) -> float:
        """A number."""
        value = self.text(name, str(default))
        if not re.fullmatch(r"-?\d{1,9}(\.\d{1,9})?", value):
            raise undeserializable(name, "invalid float literal")
        return float(value)


def undeserializable(name: str, why: str) -> QueryError:
    """The refusal of a parameter that cannot be read."""
    return QueryError(400, INVALID, f"Failed to deserialize query parameters: {name}: {why}")


MODELS = re.compile(r"(nova(-[23])?|enhanced|base|whisper)(-[a-z]+)*")
LANGUAGES = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,4})*|multi")
NO_SUCH_MODEL = "Bad Request: No such model/language/tier combination found."
ENCODINGS = re.compile("linear16|linear32|flac|alaw|mulaw|amr-[nw]b|(ogg-)?opus|speex|g729")
RATES = range(8000, 48001)
KEYTERM_TOKENS = 500


@dataclass(frozen=True, slots=True)
class ListenQuery:
    """What a connection asked for.

    rate: of the linear16 audio, in hertz; None when no encoding was named and audio is a container.
    """

    rate: int | None
    keyterms: bool
    interim_results: bool
    endpointing: Seconds | None
    utterance_end: Seconds | None
    vad_events: bool
    punctuated: bool


def parse_listen_query(query: Query) -> ListenQuery:
    """The options in ``query``; raises Refusal as the service does."""
    model = query.text("model", "base")
    if not MODELS.fullmatch(model):
        raise QueryError(403)
    if not LANGUAGES.fullmatch(query.text("language", "en")):
        raise QueryError(400, "Bad Request", NO_SUCH_MODEL)
    _refuse_conflicts(query, model)
    return ListenQuery(
        rate=_rate(query),
        keyterms=model.startswith("nova-3"),
        interim_results=query.flag("interim_results"),
        endpointing=_endpointing(query),
        utterance_end=_utterance_end(query),
        vad_events=query.flag("vad_events"),
        punctuated=query.flag("punctuate") | query.flag("smart_format"),
    )


def _refuse_conflicts(query: Query, model: str) -> None:
    for name in ("no_delay", "numerals", "dictation", "profanity_filter", "filler_words"):
        query.flag(name)
    for name in ("multichannel", "diarize", "detect_entities", "mip_opt_out"):
        query.flag(name)
    if "keywords" in query and model.startswith("nova-3"):
        raise undeserializable("keywords", "not supported by Nova-3, use keyterm")
    if "keyterm" in query and not model.startswith("nova-3"):
        raise undeserializable("keyterm", "only supported by Nova-3")
    if sum(len(term.split()) for term in query.all("keyterm")) > KEYTERM_TOKENS:
        message = "Keyterm limit exceeded. The maximum number of tokens across all keyterms is 500."
        raise QueryError(400, INVALID, message)
    if "diarize" in query and "diarize_model" in query:
        message = "diarize_model cannot be used together with diarize or diarize_version."
        raise QueryError(400, INVALID, message)
    if "summarize" in query:
        raise QueryError(400, INVALID, "Summarization is not available for streaming.")
    if "topics" in query or "intents" in query:
        raise QueryError(403, message="User does not have sufficient permissions.")
    if any(len(tag) > 128 for tag in query.all("tag")):
        raise undeserializable("tag", "longer than 128 characters")


def _rate(query: Query) -> int | None:
    if "encoding" not in query:
        return None
    encoding = query.text("encoding", "")
    if not ENCODINGS.fullmatch(encoding):
        raise undeserializable("encoding", f"unknown variant `{encoding}`")
    if encoding != "linear16":
        raise undeserializable("encoding", "this stand-in hears linear16 only")
    if query.integer("channels", 1) != 1:
        raise undeserializable("channels", "this stand-in hears one channel only")
    if "sample_rate" not in query:
        raise undeserializable("sample_rate", "required with encoding")
    if (rate := query.integer("sample_rate", 0)) not in RATES:
        raise undeserializable("sample_rate", f"unsupported value `{rate}`")
    return rate


def _endpointing(query: Query) -> Seconds | None:
    if query.text("endpointing", "10") == "false":
        return None
    return query.integer("endpointing", 10) / 1000


def _utterance_end(query: Query) -> Seconds | None:
    if "utterance_end_ms" not in query:
        return None
    value = query.integer("utterance_end_ms", 0)
    if value < 1000:
        raise QueryError(400, INVALID, f"Invalid 'utterance_end_ms' value of '{value}'.")
    if not query.flag("interim_results"):
        raise undeserializable("utterance_end_ms", "requires interim_results=true")
    return value / 1000
