"""Checks that every adapter shares: of URLs, of keys, of what a service answers.

A key leaves this machine over TLS only; what a service says is sanitized before anybody reads it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from voicecli.errors import CredentialsError, ProfileError, RefusedError, ServiceError
from voicecli.sanitize import sanitize_short
from voicecli.settings import setting


def declare_url(variable: str, default: str) -> Any:
    """Declare the setting ``base_url``; ``variable`` and ``default`` count where it is null."""
    return setting(
        None,
        f"URL of the service; null: {variable}, else {default}.",
        pattern=r"^(wss?|https?)://[^/\s]",
        example="wss://host.example",
    )


def declare_key_env(variable: str) -> Any:
    """Declare the setting ``key_env``."""
    return setting(
        variable,
        "Name of the environment variable that holds the key.",
        pattern=r"^[A-Z][A-Z0-9_]*$",
        example="DEEPGRAM_API_KEY",
    )


_SCHEMES = {"http": False, "ws": False, "https": True, "wss": True}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The parsed URL of a service.

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

    def websocket_url(self, path: str) -> str:
        """The URL of the WebSocket at ``path`` below it."""
        return f"{'wss' if self.secure else 'ws'}://{self.authority}{self.path}{path}"

    def http_url(self) -> str:
        """The URL for HTTP requests."""
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
    """Parse a URL with the scheme http, https, ws or wss.

    Raises ProfileError for any other, and for one that would send a key unencrypted.
    """
    named = f"{service.upper()}: the URL {sanitize_short(url)!r}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        host.encode("idna")  # the resolver would raise UnicodeError over "a..b"
    except ValueError as error:
        raise ProfileError(f"{named} cannot be read", hint="Write https://HOST.") from error
    if parts.scheme not in _SCHEMES or not host:
        raise ProfileError(f"{named} is not the address of a service", hint="Write https://HOST.")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ProfileError(
            f"{named} contains more than an address", hint="Write https://HOST/PATH."
        )
    if not _SCHEMES[parts.scheme] and not is_loopback(host):
        raise ProfileError(
            f"{named} is not encrypted, and keys go out over TLS only",
            hint="Write https:// or wss://; only 127.0.0.1, ::1 and localhost need no TLS.",
        )
    bracketed = f"[{host}]" if ":" in host else host
    authority = bracketed if port is None else f"{bracketed}:{port}"
    return Endpoint(_SCHEMES[parts.scheme], host, authority, parts.path.rstrip("/"))


def check_key(service: str, endpoint: Endpoint, key: str, key_env: str) -> None:
    """Raise CredentialsError if ``endpoint`` needs a key and there is none, or it is malformed."""
    if not key and not endpoint.loopback:
        raise CredentialsError(
            f"{service.upper()}: there is no key for {endpoint.host}",
            hint=f"Set {key_env} in the environment or in .env.",
        )
    # Refused here, because an HTTP library would quote the whole header in its exception.
    if not all("!" <= character <= "~" for character in key):
        raise CredentialsError(
            f"{service.upper()}: the key in {key_env} contains a space or an invalid character",
            hint="Copy it again.",
        )


class CloseError(ServiceError):
    """The service closed the connection in the normal way (1000, 1001, or without a code)."""


_DIGITS = re.compile("[0-9]{1,6}")


class Refusal(NamedTuple):
    """What a status or a close code means: a row of a table.

    cause, hint: as in VoiceError; {names} are filled in.
    temporary: whether the same call may succeed later.
    """

    cause: str
    hint: str = ""
    temporary: bool = False

    def create_error(
        self,
        service: str,
        code: int,
        message: str,
        *,
        request_id: str | None,
        retry_after: str | None = None,
        kind: type[ServiceError] | None = None,
        **names: str,
    ) -> ServiceError:
        """Create the error: this meaning, and the service's own ``message``, sanitized.

        kind: by default RefusedError for 401 and 403, ServiceError for all others.
        retry_after: the header; a date in it is ignored, as this machine's may be wrong.
        """
        detail = f"HTTP {code}" if code < 1000 else str(code)  # close codes start at 1000
        if words := sanitize_short(message):
            detail = f"{detail}: {words}"
        return (kind or (RefusedError if code in (401, 403) else ServiceError))(
            service,
            f"{self.cause.format_map(names)} ({detail})",
            hint=self.hint.format_map(names),
            status=code,
            request_id=sanitize_short(request_id or "") or None,
            temporary=self.temporary,
            retry_after=float(retry_after)
            if retry_after and _DIGITS.fullmatch(retry_after)
            else None,
        )
