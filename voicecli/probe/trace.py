"""The way to a service, phase by phase: a new connection, and then a round trip on it.

The connection is the probe's own, and takes the phases one after the other, which no library lets
one watch.  What it sends is what the adapters send; the refusals of a service are theirs to tell.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies

from voicecli import clock
from voicecli.events import Service
from voicecli.probe.exchange import ExchangeError, HttpExchange, WebSocketExchange
from voicecli.probe.proxy import check_connected, connect_request, proxy_for
from voicecli.sanitize import sanitize_short
from voicecli.services.endpoint import Endpoint
from voicecli.units import Seconds

T = TypeVar("T")

PIECE = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Where to go, and what to ask for there.

    path: with its query, below the endpoint's.
    headers: the key's; empty where there is none that may be sent, and then nothing is asked for.
    say: sent to get the first message; "" where the service speaks unasked.  WebSocket only.
    """

    service: Service
    endpoint: Endpoint
    path: str
    headers: Mapping[str, str]
    websocket: bool
    say: str = ""
    ask: bool = True
    timeout: Seconds = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How it went.

    address: that was connected to; of the proxy, where there is one.
    phases: ``names.PHASES`` that were completed, in seconds.
    status: of the answer to the upgrade or request; None where none came.
    failed: the phase that was not completed, "" for none; why: a clause.
    """

    service: Service
    host: str
    address: str = ""
    proxy: str = ""
    phases: Mapping[str, Seconds] = field(default_factory=dict)
    status: int | None = None
    failed: str = ""
    why: str = ""


class Exchange(Protocol):
    """What is said on a connection, without I/O: bytes in, bytes out."""

    status: int | None
    answered: bool
    spoke: bool

    def request(self) -> bytes:
        """What to send first."""

    def again(self) -> bytes:
        """What to send for one more round trip; b"" where there is none to be had."""

    def message(self) -> bytes | None:
        """What to send for the first message; None where there is none to be had."""

    def receive(self, data: bytes) -> bytes:
        """Take what came (b"": the end); what to send in answer."""


class _StoppedError(Exception):
    """A phase was not completed."""

    def __init__(self, phase: str, why: str) -> None:
        super().__init__(phase, why)
        self.phase = phase
        self.why = why


async def travel(visit: Visit, proxies: Mapping[str, str] | None = None) -> Route:
    """Go there once; never fails, a Route tells how far it went.

    proxies: by scheme; those of the environment if None.
    """
    journey = _Journey(
        visit, proxy_for(visit.endpoint, getproxies() if proxies is None else proxies)
    )
    failed, why = "", ""
    try:
        await journey.go()
    except _StoppedError as stopped:
        failed, why = stopped.phase, sanitize_short(stopped.why)
    finally:
        journey.end()
    return Route(
        service=visit.service,
        host=visit.endpoint.authority,
        address=journey.address,
        proxy=sanitize_short(journey.proxy),
        phases=journey.phases,
        status=journey.exchange.status,
        failed=failed,
        why=why,
    )


class _Journey:
    """One visit under way."""

    def __init__(self, visit: Visit, proxy: str) -> None:
        self._visit = visit
        self._proxy = urlsplit(proxy)
        self.proxy = self._proxy.hostname or ""
        self.address = ""
        self.phases: dict[str, Seconds] = {}
        self.exchange: Exchange = (WebSocketExchange if visit.websocket else HttpExchange)(
            visit.endpoint, visit.path, visit.headers, visit.say
        )
        self._socket: socket.socket | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def go(self) -> None:
        """All phases, one after the other; raises _StoppedError."""
        if self.proxy and self._proxy.scheme not in ("http", ""):
            raise _StoppedError("proxy", f"a {self._proxy.scheme} proxy cannot be looked through")
        endpoint = self._visit.endpoint
        port = _port(endpoint)
        if self.proxy:
            addresses = await self._phase("dns", _resolve(self.proxy, self._proxy.port or 80))
        else:
            addresses = await self._phase("dns", _resolve(endpoint.host, port))
        connected = await self._phase("tcp", self._connect(addresses))
        if self.proxy:
            await self._phase("proxy", self._tunnel(connected, endpoint.host, port))
        if endpoint.secure:
            reader = await self._phase("tls", self._stream(connected, secure=True))
        else:
            reader = await self._stream(connected, secure=False)
        if not self._visit.ask:
            return
        await self._phase("open", self._exchange(reader, self.exchange.request()))
        await self._more(reader)

    async def _more(self, reader: asyncio.StreamReader) -> None:
        """A round trip on the open connection, and the first message."""
        if not self._visit.say:  # it speaks unasked, perhaps it has already
            await self._hear(reader)
        if (again := self.exchange.again()) != b"":
            await self._phase("trip", self._exchange(reader, again))
        if self._visit.say:
            await self._hear(reader)

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        if self.exchange.spoke:
            self.phases["message"] = 0.0
        elif (message := self.exchange.message()) is not None:
            await self._phase("message", self._exchange(reader, message))

    def end(self) -> None:
        """Hang up."""
        if self._writer is not None:
            self._writer.transport.abort()
        elif self._socket is not None:
            self._socket.close()

    async def _phase(self, name: str, work: Awaitable[T]) -> T:
        began = clock.now()
        try:
            async with asyncio.timeout(self._visit.timeout):
                result = await work
        except TimeoutError as error:
            raise _StoppedError(name, f"nothing within {self._visit.timeout:g} s") from error
        except ssl.SSLError as error:
            why = getattr(error, "verify_message", "") or error.reason or str(error)
            raise _StoppedError(name, why) from error
        except (OSError, ExchangeError) as error:
            raise _StoppedError(name, getattr(error, "strerror", None) or str(error)) from error
        self.phases[name] = clock.now() - began
        return result

    async def _connect(self, addresses: list[_Address]) -> socket.socket:
        """A connection to the first address that takes one."""
        failure: OSError | None = None
        for family, address in addresses:
            self._socket = socket.socket(family, socket.SOCK_STREAM)
            self._socket.setblocking(False)
            self.address = str(address[0])
            try:
                await asyncio.get_running_loop().sock_connect(self._socket, address)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return self._socket
            except OSError as error:
                failure = error
                self._socket.close()
        raise failure or OSError("the name has no address")

    async def _tunnel(self, connected: socket.socket, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(connected, connect_request(self._proxy, host, port))
        answer = b""
        while b"\r\n\r\n" not in answer and len(answer) < PIECE:
            if not (data := await loop.sock_recv(connected, PIECE)):
                break
            answer += data
        check_connected(answer)

    async def _stream(self, connected: socket.socket, *, secure: bool) -> asyncio.StreamReader:
        reader, self._writer = await asyncio.open_connection(
            sock=connected,
            ssl=ssl.create_default_context() if secure else None,
            server_hostname=self._visit.endpoint.host if secure else None,
        )
        return reader

    async def _exchange(self, reader: asyncio.StreamReader, data: bytes) -> None:
        """Send ``data`` and read until it is answered."""
        assert self._writer is not None
        self.exchange.answered = False
        self._writer.write(data)
        while not self.exchange.answered:
            self._writer.write(self.exchange.receive(await reader.read(PIECE)))


_Address = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]


async def _resolve(host: str, port: int) -> list[_Address]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]  # type: ignore[misc]


def _port(endpoint: Endpoint) -> int:
    return urlsplit(f"//{endpoint.authority}").port or (443 if endpoint.secure else 80)
