"""Makes foreign text safe to print and to keep: no terminal controls, no secrets.

Text from services, devices, files and users passes through here before it reaches a terminal, a
log, a timeline or a result.  Pure, but for the redaction, which reads the environment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

SHORT = 300
"""Characters that ``sanitize_short`` keeps: a service's reason fits, a page of HTML does not."""

SHORTEST_SECRET = 8
"""Characters of a secret; a shorter one is a word or a number that occurs by chance."""

_SEQUENCES = re.compile(
    r"(?:\x1b\]|\x9d)[^\x07\x1b\n]*(?:\x07|\x1b\\)?"  # operating system commands: titles, links
    r"|[\x1b\x9b]\[?[0-?]*[ -/]*[@-~]"  # everything else: colours, cursor
)

_CONTROLS = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad"  # C0, C1, soft hyphen
    r"\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"  # invisible, bidirectional
)

_SIGNS_OF_SECRETS = re.compile(r"[0-9]|sk-|AIza|eyJ|://")
"""One of these is in whatever ``_SECRETS`` matches; to look for them is 10 times as fast."""

_SECRETS = re.compile(
    # OpenAI's keys, also as it echoes a wrong one (sk-abc***xyz), and those of its imitators.
    r"\bsk-(?:(?=[\w.…-]*[\d*])[\w*.…-]+|[\w.…-]{8,})"
    # Also where it was pasted into a word, unless that is "task-" and the like.
    r"|sk-(?:proj|svcacct|ant-api\d\d)-(?=[\w-]*\d)(?=[\w-]*[A-Z])[\w-]{16,}"
    # Google's keys and JSON Web Tokens, which dashes and dots cut into short words.
    r"|\bAIza[\w-]{30,}|\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?"
    # Everybody else's: at least 32 letters and digits in a row.  Deepgram's are 40 hex digits;
    # Groq's (gsk_…) and ElevenLabs's (sk_…) are longer, after a prefix, which may be shown.
    # A digit is required, so that a long word is not a key: only 1 of 1,000 keys of 40 random
    # letters and digits has none.  UUIDs and file names are no keys: dashes, dots and underscores
    # end a run.  Request ids must stay readable, and OpenAI's are 32 hex digits after ``req_``.
    r"|(?<![0-9A-Za-z])(?<!\breq_)(?=[A-Za-z]*[0-9])[0-9A-Za-z]{32,}"
    # User name and password in a URL.
    r"|(?<=://)[^/\s@]+(?=@)"
)


def sanitize_line(text: str) -> str:
    """Return ``text`` as one printable line without secrets, escape sequences or controls."""
    return replace_surrogates(_redact_shown(strip_controls(text), text))


def sanitize_short(text: str) -> str:
    """Return ``sanitize_line(text)``, cut to SHORT characters."""
    text = sanitize_line(text)
    return text if len(text) <= SHORT else f"{text[: SHORT - 1]}…"


def sanitize_message(text: str) -> str:
    """Return our own output without secrets: lines stay lines, controls are shown as escapes."""
    text = _redact_shown(_SEQUENCES.sub("", text), text)
    return "\n".join(map(escape_controls, text.split("\n")))


def strip_controls(text: str) -> str:
    """Return ``text`` as one line, without escape sequences and invisible characters."""
    # White space first: a line feed becomes a space, not nothing.
    return " ".join(_CONTROLS.sub("", " ".join(_SEQUENCES.sub("", text).split())).split())


def escape_controls(text: str) -> str:
    r"""Return ``text`` with ``\x1b`` and the like for what a terminal would obey, not print."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def redact_secrets(text: str) -> str:
    """Replace keys, passwords in URLs, and the values of secret environment variables.

    A variable is secret if its name ends in KEY, TOKEN, SECRET or PASSWORD.
    """
    return create_redactor()(text)


def create_redactor() -> Callable[[str], str]:
    """Return ``redact_secrets`` for many texts: it reads the environment now, not for each."""
    values = _list_secret_values()

    def redact(text: str) -> str:
        for value in values:
            text = text.replace(value, "[redacted]")
        return _SECRETS.sub("[redacted]", text) if _SIGNS_OF_SECRETS.search(text) else text

    return redact


def _redact_shown(shown: str, raw: str) -> str:
    """Replace the secrets in ``shown``, which is ``raw`` without its escape sequences.

    A sequence that is cut off takes what follows it for its own end, perhaps the "A" of "AIza…".
    The rest of such a secret is replaced as well.
    """
    shown, values = redact_secrets(shown), _list_secret_values()
    for sequence in _SEQUENCES.finditer(raw):
        for start in range(sequence.start() + 1, sequence.end()):
            rest = raw[sequence.end() : _find_secret_end(raw, start, values)]
            if len(rest) >= SHORTEST_SECRET:
                shown = shown.replace(rest, "[redacted]")
    return shown


def _find_secret_end(text: str, start: int, values: list[str]) -> int:
    """Return where the secret that begins at ``start`` ends; ``start`` if none does."""
    found = _SECRETS.match(text, start)
    ends = [start + len(one) for one in values if text.startswith(one, start)]
    return max([*ends, found.end() if found else start])


def _list_secret_values() -> list[str]:
    """List the values of secret environment variables, the longest first."""
    ends = ("KEY", "TOKEN", "SECRET", "PASSWORD")
    values = {value for name, value in os.environ.items() if name.upper().endswith(ends)}
    return sorted((one for one in values if len(one) >= SHORTEST_SECRET), key=len, reverse=True)


def has_secret(text: str) -> bool:
    """Return whether ``text`` holds something that looks like a key or a password."""
    return _SECRETS.search(text) is not None


def replace_surrogates(text: str) -> str:
    """Return ``text`` with ``?`` for lone surrogates, which JSON can hold and UTF-8 cannot."""
    return text.encode(errors="replace").decode()
