"""What every adapter shares: checks of URLs and keys, and what failures to connect mean.

A key leaves this machine over TLS only; what a service says is sanitized before anybody reads it.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from voicecli.environment.network import Proxy, find_proxy, is_loopback
from voicecli.errors import (
    AbsentError,
    CredentialsError,
    OfflineError,
    ProfileError,
    RefusedError,
    ServiceError,
)
from voicecli.sanitize import sanitize_short
from voicecli.settings import setting
from voicecli.units import Seconds


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

    def find_proxy(self, *, websocket: bool) -> Proxy | None:
        """Find the proxy on the way to it; raises UsageError for an unusable one."""
        port = urlsplit(f"//{self.authority}").port or 443
        return find_proxy("wss" if websocket else "https", self.host, port)

    def websocket_url(self, path: str) -> str:
        """The URL of the WebSocket at ``path`` below it."""
        return f"{'wss' if self.secure else 'ws'}://{self.authority}{self.path}{path}"

    def http_url(self) -> str:
        """The URL for HTTP requests."""
        return f"{'https' if self.secure else 'http'}://{self.authority}{self.path}"


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


_NO_ROUTE = {errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH}


def create_connect_error(
    service: str,
    endpoint: Endpoint,
    timeout: Seconds,
    error: OSError,
    proxy: Proxy | None = None,
) -> ServiceError:
    """Create the error for a connection that cannot be opened, and ended with ``error``.

    proxy: on the way to the service; what TCP says is then about the proxy.
    """
    host, via = endpoint.authority, f" through {proxy}" if proxy else ""
    name = f"of {proxy}" if proxy else endpoint.host
    hint = f"Check {proxy.variable}." if proxy else "Check the network."
    reason, temporary, kind = sanitize_short(str(error)), True, ServiceError
    numbers = _find_errnos(error)
    match error:
        case TimeoutError():
            cause = f"no answer from {host}{via} within {timeout:g} s"
        case socket.gaierror(errno=socket.EAI_AGAIN):
            cause, kind = f"the name {name} cannot be looked up", OfflineError
        case socket.gaierror():
            cause, kind = f"the name {name} is unknown", AbsentError
            hint = f"Check the network and {proxy.variable if proxy else 'the URL'}."
        case ssl.SSLEOFError():
            cause = f"{host} hung up before it answered"
        case ssl.SSLError():
            cause, temporary = f"no secure connection to {host}{via} ({reason})", False
            hint = (
                "Check this machine's clock and certificate authorities (SSL_CERT_FILE), and any "
                "proxy in between."
            )
        case OSError() if errno.ECONNREFUSED in numbers:
            cause, kind = f"nothing listens at {proxy or host}", AbsentError
            if not proxy:
                hint = "Check the URL, and that the service runs."
        case _:
            cause = f"cannot reach {proxy or host} ({reason})"
            kind = OfflineError if numbers & _NO_ROUTE else ServiceError
    return kind(service, cause, hint=hint, temporary=temporary)


def _find_errnos(error: OSError) -> set[int | None]:
    """Return the numbers of an OSError; asyncio joins those of a host's addresses in one text."""
    if error.errno is not None:
        return {error.errno}
    return {int(number) for number in re.findall(r"\[Errno (\d+)\]", str(error))}


def create_proxy_error(
    service: str, endpoint: Endpoint, proxy: Proxy, status: int | None, reason: str
) -> ServiceError:
    """Create the error for a proxy that opens no connection.

    status: of its answer, if it speaks HTTP; reason: its own words.
    """
    detail = sanitize_short(reason) or "it does not say why"
    hint = f"Check {proxy.variable}, or list {endpoint.host} in NO_PROXY."
    if status == 407:
        hint = f"Write user and password into {proxy.variable}: http://USER:PASSWORD@HOST:PORT."
    return ServiceError(
        service,
        f"{proxy} opens no connection to {endpoint.authority} ({detail})",
        hint=hint,
        status=status,
        temporary=status is None or status >= 500,
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
