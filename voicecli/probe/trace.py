"""Traces a new connection to a service, phase by phase.

The connection is opened by the libraries that the adapters use: httpcore2, which is below httpx2,
and websockets.  Their own hooks mark where one phase ends and the next begins.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import SplitResult, unquote, urlsplit

import httpcore2
from typing_extensions import override
from websockets import exceptions
from websockets.asyncio.client import ClientConnection, connect

from voicecli import clock
from voicecli.environment.network import Proxy, create_tls_context
from voicecli.events import Service
from voicecli.sanitize import sanitize_short
from voicecli.services.endpoint import Endpoint
from voicecli.services.provider import Handshake
from voicecli.services.websocket import Connection
from voicecli.units import Seconds

T = TypeVar("T")

# websockets writes the handshake's headers, the key among them, to its logger at DEBUG.
_SILENT = logging.Logger("voicecli.probe.silent", logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True)
class ConnectionTarget:
    """What to connect to; may_ask: without a usable key, only TCP and TLS are traced."""

    service: Service
    endpoint: Endpoint
    handshake: Handshake
    may_ask: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionTrace:
    """One traced connection.

    address: the one connected to; the proxy's, if there is one.
    proxy: its host; proxy_variable: the variable that names it.
    phases: the completed ones of ``results.PHASES``, in seconds.
    status: of the answer to the upgrade or request; None without an answer.
    failed: the phase that failed, or ""; why: a clause.
    """

    service: Service
    host: str
    address: str = ""
    proxy: str = ""
    proxy_variable: str = ""
    phases: Mapping[str, Seconds] = field(default_factory=dict)
    status: int | None = None
    failed: str = ""
    why: str = ""


async def trace_connection(target: ConnectionTarget) -> ConnectionTrace:
    """Open a connection, measure its phases and close it; a failure is part of the result."""
    proxy = target.endpoint.find_proxy(websocket=target.handshake.websocket)
    tracer = _Tracer(target, proxy)
    why = ""
    try:
        await tracer.run()
    except TimeoutError:
        why = f"nothing within {target.handshake.timeout:g} s"
    except (OSError, ValueError, *_LIBRARY_ERRORS) as error:
        why = _explain(error)
    return ConnectionTrace(
        service=target.service,
        host=target.endpoint.authority,
        address=tracer.address,
        proxy=(urlsplit(proxy.url).hostname or "") if proxy else "",
        proxy_variable=proxy.variable if proxy else "",
        phases=tracer.phases,
        status=tracer.status,
        failed=tracer.current if why else "",
        why=sanitize_short(why),
    )


_LIBRARY_ERRORS = (
    exceptions.WebSocketException,
    httpcore2.ProtocolError,
    httpcore2.NetworkError,
    httpcore2.ProxyError,
)


class _Tracer:
    """Opens one connection; current: the phase in progress, or the one that failed."""

    def __init__(self, target: ConnectionTarget, proxy: Proxy | None) -> None:
        self._target = target
        self._proxy = proxy.url if proxy else ""
        self._tls = create_tls_context() if target.endpoint.secure else None
        self._timeout = target.handshake.timeout
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
        if not self._target.may_ask:
            await self._trace_transport()
        elif self._target.handshake.websocket:
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
        async with asyncio.timeout(self._timeout):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        self.end()
        return [str(address[0]) for _, _, _, _, address in found]

    async def _trace_transport(self) -> None:
        """TCP and TLS to the service; through a proxy, TCP to the proxy."""
        endpoint = self._target.endpoint
        parts = urlsplit(self._proxy or endpoint.http_url())
        async with asyncio.timeout(self._timeout):
            stream = await _TimedBackend(self).connect_tcp(parts.hostname or "", _port(parts))
            try:
                if self._tls and not self._proxy:
                    self.begin("tls")
                    await stream.start_tls(self._tls, endpoint.host)
                    self.end()
            finally:
                await stream.aclose()

    # ── HTTP ─────────────────────────────────────────────────────────────────

    async def _trace_http(self) -> None:
        """A GET, and the same again on its connection if the server keeps it open."""
        url = f"{self._target.endpoint.http_url()}{self._target.handshake.path}"
        headers = list(self._target.handshake.headers.items())
        proxy = _http_proxy(self._proxy, self._tls) if self._proxy else None
        backend = _TimedBackend(self)
        async with (
            aclosing(backend),
            httpcore2.AsyncConnectionPool(self._tls, proxy=proxy, network_backend=backend) as pool,
        ):
            for phase in ("open", "trip"):
                self.begin(phase)
                hooks = {"trace": self._http_hook(phase)}
                async with asyncio.timeout(self._timeout):
                    response = await pool.request("GET", url, headers=headers, extensions=hooks)
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
                case "setup_socks5_connection.started":
                    self.begin("proxy")
                case "send_request_headers.started":
                    connecting = info["request"].method == b"CONNECT"
                    self.begin("proxy" if connecting else phase)
                case "start_tls.complete" | "setup_socks5_connection.complete":
                    self.end()
                case "receive_response_headers.complete" if self.current == "proxy":
                    if info["return_value"][1] // 100 == 2:
                        self.end()

        return note

    # ── WebSocket ────────────────────────────────────────────────────────────

    async def _trace_websocket(self) -> None:
        """The upgrade, a ping, and the service's first message."""
        if (connection := await self._open_websocket()) is None:
            return
        goodbye = self._target.handshake.goodbye  # a service with one sends nothing before it
        try:
            for phase in ("trip", "message") if goodbye else ("message", "trip"):
                self.begin(phase)
                async with asyncio.timeout(self._timeout):
                    if phase == "trip":
                        await (await connection.ping())
                    else:
                        if goodbye:
                            await connection.send(goodbye)
                        await connection.recv()
                self.end()
        finally:
            connection.transport.abort()
            await connection.wait_closed()

    async def _open_websocket(self) -> ClientConnection | None:
        """Open the WebSocket; None if the service refused, which is a complete trace, too."""
        tracer, endpoint, handshake = self, self._target.endpoint, self._target.handshake

        class TimedConnection(Connection):
            """Made when TCP (and the proxy) are connected, and notified after TLS."""

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
            "additional_headers": dict(handshake.headers),
            "compression": None,
            "open_timeout": self._timeout,
            "ping_interval": None,
            "logger": _SILENT,
            "create_connection": TimedConnection,
            "ssl": self._tls,
        }
        url = endpoint.websocket_url(handshake.path)
        try:
            if self._proxy:  # the library connects to it and asks for a tunnel in one step
                parts = urlsplit(self._proxy)
                self.address = (await self.resolve(parts.hostname or "", _port(parts)))[0]
                if parts.scheme == "https":
                    options["proxy_ssl"] = self._tls
                self.begin("proxy")
                connection = await connect(url, proxy=self._proxy, **options)
            else:
                port = _port(urlsplit(endpoint.http_url()))
                options |= {"proxy": None, "port": port}
                connection = await self.connect(
                    endpoint.host, port, lambda address: connect(url, host=address, **options)
                )
        except exceptions.InvalidStatus as error:
            self.status = error.response.status_code
            self.end()
            return None
        self.end()
        self.status = 101
        return connection


class _TimedBackend(httpcore2.AnyIOBackend):
    """httpcore2's network backend, which resolves and connects in two phases, and only once."""

    def __init__(self, tracer: _Tracer) -> None:
        self._tracer = tracer
        self._stream: httpcore2.AsyncNetworkStream | None = None

    async def aclose(self) -> None:
        """Close the connection, which httpcore2 2.16 leaves open where SOCKS or its TLS fails."""
        if self._stream is not None:
            await self._stream.aclose()

    @override
    async def connect_tcp(
        self, host: str, port: int, *args: Any, **options: Any
    ) -> httpcore2.AsyncNetworkStream:
        if self._tracer.phases:  # for the second request: the server has closed the connection
            raise httpcore2.RemoteProtocolError("closed")
        connect = super().connect_tcp
        stream = await self._tracer.connect(
            host, port, lambda address: connect(address, port, *args, **options)
        )
        self._tracer.end()
        self._stream = stream
        return stream


def _http_proxy(url: str, tls: ssl.SSLContext | None) -> httpcore2.Proxy:
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    auth = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    tls = tls if parts.scheme == "https" else None
    return httpcore2.Proxy(f"{parts.scheme}://{host}:{_port(parts)}", auth=auth, ssl_context=tls)


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _explain(error: Exception) -> str:
    """The cause of a failed phase, in a clause."""
    match error:
        case exceptions.InvalidProxyStatus():
            answer = error.response
            return f"the proxy answered {answer.status_code} {answer.reason_phrase}"
        case httpcore2.ProxyError():
            return f"the proxy answered {error}"
        case exceptions.ProxyError():  # of a SOCKS proxy
            return f"the proxy answered {error.__cause__ or error}"
        case exceptions.InvalidMessage():
            hung_up = isinstance(error.__cause__, EOFError)
            return "it hung up" if hung_up else "the answer is not HTTP"
        case httpcore2.RemoteProtocolError():
            return "it hung up" if error.__cause__ is None else "the answer is not HTTP"
        case exceptions.ConnectionClosed():
            return "it hung up"
    root: BaseException = error
    while (cause := root.__cause__ or root.__context__) is not None:
        root = cause
    if isinstance(root, ssl.SSLError):
        return getattr(root, "verify_message", "") or root.reason or str(root)
    return getattr(root, "strerror", None) or str(root) or "it hung up"
