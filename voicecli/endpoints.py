"""Where the services are, and what may be told of what they say.

Rules that every adapter shares: a key leaves this machine over TLS only, and nothing a service says
reaches the terminal unwashed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from voicecli.errors import CredentialsError, ProfileError

_SCHEMES = {"http": False, "ws": False, "https": True, "wss": True}

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


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A service's address, checked.

    authority: host, and port if one was given.
    path: without a trailing slash; may be empty.
    """

    secure: bool
    host: str
    authority: str
    path: str

    @property
    def loopback(self) -> bool:
        """Whether it is this machine: no key, no proxy and no TLS needed."""
        return is_loopback(self.host)

    def websocket(self, path: str) -> str:
        """The URL of the WebSocket at ``path`` below it."""
        return f"{'wss' if self.secure else 'ws'}://{self.authority}{self.path}{path}"

    def http(self) -> str:
        """Its URL for HTTP requests."""
        return f"{'https' if self.secure else 'http'}://{self.authority}{self.path}"


def is_loopback(host: str) -> bool:
    """Whether ``host`` is 127.0.0.0/8, ::1 or localhost."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def check_url(service: str, url: str) -> Endpoint:
    """The address ``url`` stands for, in any of http, https, ws, wss; opens nothing.

    Raises ProfileError where it is no such URL, or would send a key in the clear.
    """
    named = f"{service.upper()}: the URL {clean(url)!r}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        host.encode("idna")  # the resolver would raise UnicodeError over "a..b"
    except ValueError as error:
        raise ProfileError(f"{named} cannot be read", mend="Write https://HOST.") from error
    if parts.scheme not in _SCHEMES or not host:
        raise ProfileError(f"{named} names no service", mend="Write https://HOST.")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ProfileError(f"{named} holds more than an address", mend="Write https://HOST/PATH.")
    if not _SCHEMES[parts.scheme] and not is_loopback(host):
        raise ProfileError(
            f"{named} is not encrypted, and keys go out over TLS only",
            mend="Write https:// or wss://; only 127.0.0.1, ::1 and localhost need no TLS.",
        )
    bracketed = f"[{host}]" if ":" in host else host
    authority = bracketed if port is None else f"{bracketed}:{port}"
    return Endpoint(_SCHEMES[parts.scheme], host, authority, parts.path.rstrip("/"))


def check_key(service: str, endpoint: Endpoint, key: str, key_env: str) -> None:
    """Raise CredentialsError where ``endpoint`` needs a key and ``key`` cannot be one."""
    if not key and not endpoint.loopback:
        raise CredentialsError(
            f"{service.upper()}: there is no key for {endpoint.host}",
            mend=f"Set {key_env} in the environment or in .env.",
        )
    # Refused here, because an HTTP library would quote the whole header in its exception.
    if not all("!" <= character <= "~" for character in key):
        raise CredentialsError(
            f"{service.upper()}: the key in {key_env} holds a space, a line break or the like",
            mend="Copy it again.",
        )


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
