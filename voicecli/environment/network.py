"""How connections leave this machine, as the environment says: proxies and TLS.

One rule for every service and for downloads.  The client libraries read the same variables by rules
of their own: one refuses an address without a scheme, another ignores ``ALL_PROXY`` or
``SSL_CERT_DIR``.  They are therefore given the results, and read nothing themselves.
"""

from __future__ import annotations

import os
import re
import ssl
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from voicecli.errors import UsageError
from voicecli.sanitize import sanitize_short

Scheme = Literal["wss", "https", "http"]

_VARIABLES: dict[Scheme, tuple[str, ...]] = {
    "wss": ("wss", "https", "socks", "all"),
    "https": ("https", "socks", "all"),
    "http": ("http", "socks", "all"),
}
"""Prefixes of the variables that may name the proxy for a URL, in order."""

_PORTS = {"http": 80, "https": 443, "socks5h": 1080}

_SOCKS_PACKAGES = ("python_socks", "socksio")
"""What websockets and httpx2 need for SOCKS: the extra ``socks``."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that the environment names.

    url: http, https or socks5h, with the port, and with user and password if given.
    variable: the variable that names it.
    authority: host and port.
    """

    url: str = field(repr=False)
    variable: str
    authority: str

    @property
    def secure(self) -> bool:
        """Whether the connection to the proxy itself is TLS."""
        return self.url.startswith("https:")

    def __str__(self) -> str:
        return f"the proxy {self.authority} ({self.variable})"


def is_loopback(host: str) -> bool:
    """Whether ``host`` is 127.0.0.0/8, ::1 or localhost."""
    address = _parse_address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def find_proxy(scheme: Scheme, host: str, port: int) -> Proxy | None:
    """Find the proxy to a host; None for this machine, and for what ``NO_PROXY`` lists.

    Raises UsageError when the variable does not hold the address of a usable proxy.
    """
    proxies = getproxies()  # lower case wins; macOS's and Windows's own settings come last
    name = next((name for name in _VARIABLES[scheme] if proxies.get(name)), None)
    if name is None or is_loopback(host) or _is_exempt(host, port, proxies.get("no", "")):
        return None
    return _parse_proxy(_find_variable(name), proxies[name], socks=name == "socks")


def _find_variable(name: str) -> str:
    """Return the variable from which ``getproxies`` took the proxy ``name``."""
    variable = f"{name}_proxy"
    names = [one for one in os.environ if one.lower() == variable and os.environ[one]]
    return variable if variable in names else next(iter(names), "the system's proxy settings")


def _is_exempt(host: str, port: int, exempt: str) -> bool:
    """Whether ``NO_PROXY`` lists the host: its name, a domain, a network, or ``*``."""
    entries = [entry.strip() for entry in exempt.split(",")]
    domains = [entry[1:] for entry in entries if entry.startswith("*.")]
    address = _parse_address(host)
    return (
        "*" in entries
        or any(host.lower().endswith(domain.lower()) for domain in domains)
        or (address is not None and any(_contains(entry, address) for entry in entries))
        or bool(proxy_bypass(f"{host}:{port}"))
    )


def _contains(network: str, address: IPv4Address | IPv6Address) -> bool:
    try:
        return address in ip_network(network.strip("[]"), strict=False)
    except ValueError:
        return False


def _parse_address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _parse_proxy(variable: str, text: str, *, socks: bool) -> Proxy:
    """Parse ``[SCHEME://][USER:PASSWORD@]HOST[:PORT]``; without a scheme it is http.

    socks: whether it is a SOCKS proxy, also if it has no scheme, or http, which macOS writes.
    """
    # A password would be shown by the messages below: they show no address that may hold one.
    shown = "its value" if "@" in text else repr(sanitize_short(text))
    cause = f"{variable}: {shown} is not the address of a proxy"
    hint = "Write http://HOST:PORT, and % codes for what is special in a user or password."
    scheme, separator, rest = text.strip().rpartition("://")
    scheme = (scheme if separator else "http").lower()
    # GNOME writes socks://.  httpx2 has the proxy resolve names for socks5, too; websockets not.
    if scheme in ("socks", "socks5") or (socks and scheme == "http"):
        scheme = "socks5h"
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname or "", parts.port
        host = host if host.isascii() else host.encode("idna").decode()
    except ValueError as error:
        raise UsageError(cause, hint=hint) from error
    more = parts.path.strip("/") or parts.query or parts.fragment
    if not re.fullmatch(r"[\w.:-]+", host) or port == 0 or more:
        raise UsageError(cause, hint=hint)
    if scheme not in _PORTS:
        cause = f"{variable}: {sanitize_short(scheme)!r} proxies are not supported"
        raise UsageError(cause, hint="Name a proxy of http, https or socks5.")
    if scheme.startswith("socks") and None in map(find_spec, _SOCKS_PACKAGES):
        cause = f"{variable} names a SOCKS proxy, and what connects through one is not installed"
        raise UsageError(cause, hint="Install it with: pip install 'voicecli[socks]'.")
    authority = f"{f'[{host}]' if ':' in host else host}:{port or _PORTS[scheme]}"
    user = ""
    if parts.username is not None:
        words = (unquote(word) for word in (parts.username, parts.password or ""))
        user = ":".join(quote(word, safe="") for word in words) + "@"
    return Proxy(f"{scheme}://{user}{authority}", variable, authority)


# ── TLS ──────────────────────────────────────────────────────────────────────


def create_tls_context() -> ssl.SSLContext:
    """Return the context for all TLS connections; the same one until the environment changes.

    It trusts the authorities of ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``, or else the system's, and
    writes the secrets of each connection to ``SSLKEYLOGFILE``, for a packet analyser.

    Takes 25 ms the first time.  Raises UsageError naming the variable that cannot be used.
    """
    variables = "SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"
    return _create_tls_context(*(os.environ.get(name, "") for name in variables))


@lru_cache(maxsize=1)
def _create_tls_context(file: str, folders: str, key_log: str) -> ssl.SSLContext:
    import httpcore2

    if file or folders:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if file:
            _load_authorities(context, file)
        if folders:
            _add_folders(context, folders)
    else:
        context = httpcore2.default_ssl_context()
    if key_log:
        try:
            context.keylog_filename = key_log
        except OSError as error:
            raise _variable_error("SSLKEYLOGFILE", key_log, "be written", error) from error
    return context


def _load_authorities(context: ssl.SSLContext, file: str) -> None:
    try:
        context.load_verify_locations(cafile=file)
    except ssl.SSLError as error:
        cause = f"SSL_CERT_FILE: {sanitize_short(file)} holds no certificate in PEM format"
        raise UsageError(cause, hint="Name a file of certificates, or unset it.") from error
    except OSError as error:
        raise _variable_error("SSL_CERT_FILE", file, "be read", error) from error


def _add_folders(context: ssl.SSLContext, folders: str) -> None:
    """Add folders, which OpenSSL reads when it needs a certificate of them."""
    for folder in folders.split(os.pathsep):
        try:
            next(Path(folder).iterdir(), None)
        except OSError as error:
            raise _variable_error("SSL_CERT_DIR", folder, "be read", error) from error
    context.load_verify_locations(capath=folders)


def _variable_error(variable: str, path: str, what: str, error: OSError) -> UsageError:
    cause = f"{variable}: {sanitize_short(path)} cannot {what} ({error.strerror or error})"
    return UsageError(cause, hint="Correct the variable, or unset it.")
