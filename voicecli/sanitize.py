"""Where the services are, and what may be told of what they say.

Rules that every adapter shares: a key leaves this machine over TLS only, and nothing a service says
reaches the terminal unwashed.
"""

from __future__ import annotations

import re

_ESCAPES = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # operating system commands: window title, links
    r"|[\x1b\x9b]\[?[0-?]*[ -/]*[@-~]"  # everything else: colours, cursor
)
_CONTROLS = re.compile(r"[\x00-\x20\x7f-\xa0\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")

_KEYS = re.compile(
    r"\bsk-[\w*.…-]+"  # OpenAI; it echoes wrong keys as sk-abc***xyz
    # Deepgram: 40 hex digits; Groq and others; no UUID, it has dashes, nor OpenAI's request ids.
    r"|\b(?!req_[0-9a-f]{32}\b)[0-9A-Za-z_]{32,}"
)

_LONGEST = 300


def clean(text: str) -> str:
    """What a service said, fit for one line of a terminal.

    Without control characters, escape sequences and what looks like a key; at most 300 characters.
    """
    text = _KEYS.sub("[redacted]", " ".join(_CONTROLS.sub(" ", _ESCAPES.sub("", text)).split()))
    text = well_formed(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def well_formed(text: str) -> str:
    """``text`` without lone surrogates, which JSON can hold and UTF-8 cannot."""
    return text.encode(errors="replace").decode()
