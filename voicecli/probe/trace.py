"""Traces new connections to a service, phase by phase, and explains the result in one sentence.

The connections are opened by the libraries that the adapters use: httpcore2, which is below httpx2
and openai, and websockets.  Their own hooks mark where one phase ends and the next begins.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, TypeVar
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore2
from typing_extensions import override
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidMessage,
    InvalidProxyStatus,
    InvalidStatus,
    WebSocketException,
)
from websockets.proxy import get_proxy
from websockets.uri import parse_uri

from voicecli import clock
from voicecli.events import Service
from voicecli.sanitize import sanitize_short
from voicecli.services.endpoint import Endpoint, is_loopback
from voicecli.units import Seconds

T = TypeVar("T")

# websockets writes the handshake's headers, the key among them, to its logger at DEBUG.
_SILENT = logging.Logger("voicecli.probe.silent", logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionTarget:
    """What to connect to, and what to ask for there.

    path: with its query, below the endpoint's.
    headers: the key's; empty where no key may be sent.
    websocket: whether to open a WebSocket; else an HTTP GET is sent.
    farewell: the WebSocket message that the service answers; "" if its first message is unprompted.
    ask: whether to go beyond TCP and TLS; without a key, no request is sent.
    timeout: of the connection, and then of each answer.
    """

    service: Service
    endpoint: Endpoint
    path: str
    headers: Mapping[str, str]
    websocket: bool
    farewell: str = ""
    ask: bool = True
    timeout: Seconds = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionTrace:
    """One traced connection.

    address: the one connected to; the proxy's, if there is one.
    phases: the completed ones of ``results.PHASES``, in seconds.
    status: of the answer to the upgrade or request; None without an answer.
    failed: the phase that failed, or ""; why: a clause.
    """

    service: Service
    host: str
    address: str = ""
    proxy: str = ""
    phases: Mapping[str, Seconds] = field(default_factory=dict)
    status: int | None = None
    failed: str = ""
    why: str = ""


async def trace_connection(target: ConnectionTarget) -> ConnectionTrace:
    """Open a connection, measure its phases and close it; a failure is part of the result."""
    proxy = find_proxy(target)
    tracer = _Tracer(target, proxy)
    why = ""
    try:
        await tracer.run()
    except TimeoutError:
        why = f"nothing within {target.timeout:g} s"
    except (OSError, _ProxyUnsupportedError, *_LIBRARY_ERRORS) as error:
        why = _explain(error)
    return ConnectionTrace(
        service=target.service,
        host=target.endpoint.authority,
        address=tracer.address,
        proxy=sanitize_short(urlsplit(proxy).hostname or ""),
        phases=tracer.phases,
        status=tracer.status,
        failed=tracer.current if why else "",
        why=sanitize_short(why),
    )


def find_proxy(target: ConnectionTarget) -> str:
    """The URL of the proxy that the service's library will use, or ""; never one for loopback."""
    endpoint = target.endpoint
    if endpoint.loopback:
        return ""
    if target.websocket:
        return get_proxy(parse_uri(endpoint.websocket(target.path))) or ""
    if proxy_bypass(endpoint.host):
        return ""
    proxies = getproxies()
    proxy = proxies.get("https") or proxies.get("all") or ""
    return proxy if "://" in proxy or not proxy else f"http://{proxy}"


class _ProxyUnsupportedError(Exception):
    """A proxy whose phases cannot be told apart."""


_LIBRARY_ERRORS = (
    WebSocketException,
    httpcore2.ProtocolError,
    httpcore2.NetworkError,
    httpcore2.ProxyError,
)


class _Tracer:
    """Measures one connection.

    current: the phase in progress.
    """

    def __init__(self, target: ConnectionTarget, proxy: str) -> None:
        self._target = target
        self._proxy = proxy
        self._began: Seconds = 0.0
        self.current = ""
        self.address = ""
        self.phases: dict[str, Seconds] = {}
        self.status: int | None = None

    def begin(self, phase: str) -> None:
        self.current = phase
        self._began = clock.now()

    def end(self) -> None:
        self.phases[self.current] = clock.now() - self._began

    async def run(self) -> None:
        target = self._target
        scheme = urlsplit(self._proxy).scheme
        if self._proxy and scheme not in ("http", "https"):
            self.current = "proxy"
            raise _ProxyUnsupportedError(f"a {scheme} proxy cannot be traced")
        if not target.ask:
            await self._trace_transport()
        elif target.websocket:
            await self._trace_websocket()
        else:
            await self._trace_http()

    async def connect(self, host: str, port: int, connect: Callable[[str], Awaitable[T]]) -> T:
        """Resolve ``host`` and connect to the first address that accepts: ``dns``, ``tcp``."""
        addresses = await self.resolve(host, port)
        for address in addresses:
            self.begin("tcp")
            self.address = address
            try:
                return await connect(address)
            except (OSError, httpcore2.ConnectError):
                if self.current != "tcp" or address == addresses[-1]:
                    raise
        raise OSError("the name has no address")

    async def resolve(self, host: str, port: int) -> list[str]:
        """The addresses of ``host``, in the resolver's order; the phase ``dns``."""
        self.begin("dns")
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        self.end()
        return [str(address[0]) for _, _, _, _, address in found]

    async def _trace_transport(self) -> None:
        """TCP and TLS to the service; through a proxy, TCP to the proxy."""
        endpoint, timeout = self._target.endpoint, self._target.timeout
        parts = urlsplit(self._proxy or endpoint.http())
        async with asyncio.timeout(timeout):
            stream = await _TimedBackend(self).connect_tcp(parts.hostname or "", _port(parts))
            try:
                if endpoint.secure and not self._proxy:
                    self.begin("tls")
                    await stream.start_tls(httpcore2.default_ssl_context(), endpoint.host)
                    self.end()
            finally:
                await stream.aclose()

    # ── HTTP ─────────────────────────────────────────────────────────────────

    async def _trace_http(self) -> None:
        """A GET, and the same again on its connection if the server keeps it open."""
        target = self._target
        url = f"{target.endpoint.http()}{target.path}"
        backend = _TimedBackend(self)
        async with httpcore2.AsyncConnectionPool(
            proxy=_http_proxy(self._proxy) if self._proxy else None, network_backend=backend
        ) as pool:
            for phase in ("open", "trip"):
                async with asyncio.timeout(target.timeout):
                    response = await pool.request(
                        "GET",
                        url,
                        headers=list(target.headers.items()),
                        extensions={"trace": self._http_hook(phase)},
                    )
                self.end()
                self.status = response.status
                if not any(connection.is_idle() for connection in pool.connections):
                    return

    def _http_hook(self, phase: str) -> Any:
        """The ``trace`` extension of a request whose own exchange is ``phase``."""

        async def note(event: str, info: dict[str, Any]) -> None:
            match event.partition(".")[2]:
                case "start_tls.started":
                    self.begin("tls")
                case "send_request_headers.started":
                    connecting = info["request"].method == b"CONNECT"
                    self.begin("proxy" if connecting else phase)
                case "start_tls.complete":
                    self.end()
                case "receive_response_headers.complete" if self.current == "proxy":
                    if info["return_value"][1] // 100 == 2:
                        self.end()

        return note

    # ── WebSocket ────────────────────────────────────────────────────────────

    async def _trace_websocket(self) -> None:
        """The upgrade, a ping, and the service's first message."""
        target = self._target
        connection = await self._open_websocket()
        if connection is None:
            return
        try:
            if not target.farewell:
                await self._receive(connection)
            self.begin("trip")
            async with asyncio.timeout(target.timeout):
                await (await connection.ping())
            self.end()
            if target.farewell:
                await self._receive(connection, target.farewell)
        finally:
            connection.transport.abort()
            await connection.wait_closed()

    async def _receive(self, connection: ClientConnection, prompt: str = "") -> None:
        self.begin("message")
        async with asyncio.timeout(self._target.timeout):
            if prompt:
                await connection.send(prompt)
            await connection.recv()
        self.end()

    async def _open_websocket(self) -> ClientConnection | None:
        """An open connection; None if the upgrade was refused, which is an answer, too."""
        target, tracer = self._target, self
        endpoint = target.endpoint

        class TimedConnection(ClientConnection):
            """Made when there is a way to the service, and told when it is encrypted."""

            def __init__(self, *args: Any, **options: Any) -> None:
                tracer.end()
                tracer.begin("tls" if endpoint.secure else "open")
                super().__init__(*args, **options)

            @override
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                if endpoint.secure:
                    tracer.end()
                    tracer.begin("open")
                super().connection_made(transport)

        options: dict[str, Any] = {
            "additional_headers": dict(target.headers),
            "compression": None,
            "open_timeout": target.timeout,
            "ping_interval": None,
            "logger": _SILENT,
            "create_connection": TimedConnection,
        }
        url = endpoint.websocket(target.path)
        try:
            if self._proxy:
                connection = await self._connect_through_proxy(url, options)
            else:
                parts = urlsplit(endpoint.http())
                options |= {"proxy": None, "port": _port(parts)}
                connection = await self.connect(
                    endpoint.host,
                    _port(parts),
                    lambda address: connect(url, host=address, **options).connect(),
                )
        except InvalidStatus as error:
            self.status = error.response.status_code
            self.end()
            return None
        self.end()
        self.status = 101
        return connection

    async def _connect_through_proxy(self, url: str, options: dict[str, Any]) -> ClientConnection:
        """websockets connects to the proxy and asks it for a tunnel in one step: ``proxy``."""
        parts = urlsplit(self._proxy)
        self.address = (await self.resolve(parts.hostname or "", _port(parts)))[0]
        self.begin("proxy")
        return await connect(url, **options, proxy=self._proxy)


class _TimedBackend(httpcore2.AnyIOBackend):
    """httpcore2's own network backend; resolves and connects in two timed phases, once."""

    def __init__(self, tracer: _Tracer) -> None:
        self._tracer = tracer
        self._used = False

    @override
    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        if self._used:  # the server had promised to keep the connection
            raise httpcore2.RemoteProtocolError("closed")
        self._used = True
        connect = super().connect_tcp
        stream = await self._tracer.connect(
            host,
            port,
            lambda address: connect(address, port, timeout, local_address, socket_options),
        )
        self._tracer.end()
        return stream


def _http_proxy(url: str) -> httpcore2.Proxy:
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    auth = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    return httpcore2.Proxy(f"{parts.scheme}://{host}:{_port(parts)}", auth=auth)


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _explain(error: Exception) -> str:
    """The cause of a failed phase, in a clause."""
    match error:
        case InvalidProxyStatus():
            answer = error.response
            return f"the proxy answered {answer.status_code} {answer.reason_phrase}"
        case httpcore2.ProxyError():
            return f"the proxy answered {error}"
        case InvalidMessage():
            hung_up = isinstance(error.__cause__, EOFError)
            return "it hung up" if hung_up else "the answer is not HTTP"
        case httpcore2.RemoteProtocolError():
            return "it hung up" if error.__cause__ is None else "the answer is not HTTP"
        case ConnectionClosed():
            return "it hung up"
    root: BaseException = error
    while (cause := root.__cause__ or root.__context__) is not None:
        root = cause
    if isinstance(root, ssl.SSLError):
        return getattr(root, "verify_message", "") or root.reason or str(root)
    return getattr(root, "strerror", None) or str(root) or "it hung up"


# ── what the phases mean ─────────────────────────────────────────────────────

SLOW_NAMES: Seconds = 0.1
LONG_ROUND_TRIP: Seconds = 0.1
"""Between continents; Deepgram has hosts in the EU, Australia, India."""

SLOW_TLS = 3.5
"""Round trips: TLS 1.2 takes two, 1.3 takes one.  More is computing, or something in between."""

SLOW_ANSWER: Seconds = 0.25
"""Beyond the round trip."""

_FAILURES = {
    "dns": "the name {host} is not resolved ({why}): check the network and the URL",
    "tcp": "{host} takes no connection ({why}): check the network, the URL and any firewall",
    "proxy": "the proxy {proxy} does not let through ({why}): check HTTPS_PROXY",
    "tls": "no secure connection ({why}): this machine does not trust the server's certificate; "
    "an intercepting proxy or a wrong clock may be the cause",
    "open": "{host} is reached, but does not answer as the service would ({why}): check the URL, "
    "and any proxy in between",
    "trip": "the connection was lost as soon as it was open ({why})",
    "message": "it opens, and then sends nothing ({why})",
}


def diagnose(traces: Sequence[ConnectionTrace]) -> str:
    """Explain ``traces``, at least one and all to the same host, in one sentence."""
    for trace in traces:
        if trace.failed:
            return _FAILURES[trace.failed].format(host=trace.host, proxy=trace.proxy, why=trace.why)
    host = traces[0].host.rpartition(":")[0] or traces[0].host
    if is_loopback(host.strip("[]")):
        return "this machine: there is no network in between"
    return _find_slowest(traces) or _describe_distance(traces)


def _median(traces: Sequence[ConnectionTrace], phase: str) -> Seconds:
    """The median of a phase; 0 if it was never completed."""
    took = [trace.phases[phase] for trace in traces if phase in trace.phases]
    return median(took) if took else 0.0


def _find_slowest(traces: Sequence[ConnectionTrace]) -> str:
    """What is unusually slow, the worst for a conversation first; "" if nothing is."""
    round_trip, tls = _median(traces, "tcp"), _median(traces, "tls")
    beyond = _median(traces, "open") - round_trip
    if round_trip >= LONG_ROUND_TRIP:
        nearer = " (api.eu.deepgram.com?)" if "deepgram" in traces[0].host else ""
        return (
            f"the host is {_ms(round_trip)} away, and every answer takes that longer: "
            f"look for a nearer one{nearer}"
        )
    if beyond >= SLOW_ANSWER:
        return f"the service takes {_ms(beyond)} to answer, beyond the round trip: it is busy"
    if tls > max(SLOW_TLS * round_trip, 0.1):
        return (
            f"TLS takes {tls / max(round_trip, 1e-3):.1f} round trips: something in between "
            "decrypts, or this machine is busy"
        )
    if (names := _median(traces, "dns")) >= SLOW_NAMES:
        return (
            f"resolving the name takes {_ms(names)}: only new connections pay for it, "
            "and a local cache helps"
        )
    return ""


def _describe_distance(traces: Sequence[ConnectionTrace]) -> str:
    trip = _median(traces, "trip") or _median(traces, "tcp")
    new = sum(_median(traces, name) for name in ("dns", "tcp", "proxy", "tls", "open"))
    return f"{_ms(trip)} away, nothing in the way; a new connection costs {_ms(new)}, once"


def _ms(took: Seconds) -> str:
    return f"{took * 1000:.0f} ms"
