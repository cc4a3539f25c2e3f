"""The addresses of services, and what becomes of everything Deepgram's sockets can refuse."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import socket as sockets
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from voicecli import __version__, clock
from voicecli.errors import (
    AbsentError,
    CredentialsError,
    OfflineError,
    ProfileError,
    RefusedError,
    ServiceError,
)
from voicecli.services.deepgram import create_handshake
from voicecli.services.deepgram.socket import (
    PING_INTERVAL,
    PING_TIMEOUT,
    Socket,
    open_socket,
)
from voicecli.services.endpoint import CloseError, check_url, create_connect_error
from voicecli.services.provider import ServiceAddress

KEY = "0123456789abcdef0123456789abcdef01234567"
Handler = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def opened(url: str, *, key: str = KEY, service: str = "stt") -> AsyncGenerator[Socket, None]:
    address = ServiceAddress(url=url, key=key, key_env="DEEPGRAM_API_KEY")
    handshake = create_handshake("/v1/listen?model=nova-3", address, 3.0)
    async with open_socket(service, address, handshake) as socket:
        yield socket


@asynccontextmanager
async def serving(handler: Handler, **options: Any) -> AsyncGenerator[str, None]:
    async with serve(handler, "127.0.0.1", 0, **options) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def listening(
    converse: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    scheme: str = "http",
) -> AsyncGenerator[str, None]:
    """A TCP server whose every conversation has ended, and is closed, when it is left."""
    conversations: list[asyncio.Task[None] | None] = []

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversations.append(asyncio.current_task())
        try:
            await converse(reader, writer)
        finally:
            writer.close()

    async with await asyncio.start_server(hold, "127.0.0.1", 0) as server:
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await asyncio.gather(*filter(None, conversations))


def answering(answer: bytes) -> AbstractAsyncContextManager[str]:
    """A server that reads a request's head, writes ``answer`` and hangs up."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    return listening(converse)


def failure_of(
    url_of: Callable[[], AbstractAsyncContextManager[str]], *, service: str = "stt"
) -> ServiceError:
    async def main() -> ServiceError:
        async with url_of() as url:
            with pytest.raises(ServiceError) as caught:
                async with opened(url, service=service):
                    pytest.fail("it opened")
        return caught.value

    return clock.run(main(), virtual=True)


def http(status: str, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def end_of(close: Handler, *, send: str | None = None) -> ServiceError:
    """What ``receive`` raises when the server behaves like ``close``."""

    async def main() -> ServiceError:
        async with serving(close) as url, opened(url) as socket:
            if send is not None:
                await socket.send(send)
            with pytest.raises(ServiceError) as caught:
                await socket.receive()
        return caught.value

    return clock.run(main(), virtual=True)


def closing(code: int, reason: str = "") -> Handler:
    async def close(connection: ServerConnection) -> None:
        await connection.close(code, reason)

    return close


# ── addresses ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("scheme", ["wss", "https"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_a_secure_address_may_be_given_in_either_scheme(scheme: str, slash: str) -> None:
    endpoint = check_url("stt", f"{scheme}://api.deepgram.com{slash}")
    assert endpoint.websocket_url("/v1/listen") == "wss://api.deepgram.com/v1/listen"
    assert endpoint.http_url() == "https://api.deepgram.com"


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "127.9.9.9", "localhost:1", "[::1]:8080"])
@pytest.mark.parametrize("scheme", ["ws", "http"])
def test_this_machine_needs_no_tls(scheme: str, host: str) -> None:
    endpoint = check_url("stt", f"{scheme}://{host}/prefix/")
    assert endpoint.websocket_url("/v1/listen") == f"ws://{host}/prefix/v1/listen"
    assert endpoint.loopback


@pytest.mark.parametrize(
    "url",
    [
        "http://api.deepgram.com",
        "ws://192.168.1.2:80",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
        "http://0.0.0.0",
    ],
)
def test_keys_go_out_over_tls_only(url: str) -> None:
    with pytest.raises(ProfileError, match="over TLS only"):
        check_url("stt", url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.deepgram.com",
        "ftp://api.deepgram.com",
        "https://",
        "https://[::1",
        "https://host:port",
        "https://a..b",
        "http://127.0.0.1@evil.example",
        "http://127.0.0.1\\@evil.example",
        "https://user:secret@host",
        "https://host/?x=1",
    ],
)
def test_what_is_no_address_is_refused_before_anything_opens(url: str) -> None:
    with pytest.raises(ProfileError):
        check_url("stt", url)


# ── opening ──────────────────────────────────────────────────────────────────


def test_the_handshake_carries_the_key_and_says_who_calls() -> None:
    seen: list[Request] = []

    async def answer(connection: ServerConnection) -> None:
        assert connection.request is not None
        seen.append(connection.request)
        await connection.send("hello")
        await connection.wait_closed()

    def identify(connection: ServerConnection, request: Request, response: Response) -> None:
        response.headers["dg-request-id"] = "id-1"

    async def main() -> None:
        async with serving(answer, process_response=identify) as url, opened(url) as socket:
            assert await socket.receive() == "hello"
            assert socket.request_id == "id-1"
            assert socket.took == 0.0  # in virtual time
            assert socket.open
        assert not socket.open

    clock.run(main(), virtual=True)
    (request,) = seen
    assert request.path == "/v1/listen?model=nova-3"
    assert request.headers["Authorization"] == f"Token {KEY}"
    assert request.headers["User-Agent"] == f"voicecli/{__version__}"
    assert "Sec-WebSocket-Extensions" not in request.headers


def test_no_key_is_no_header_on_this_machine() -> None:
    async def answer(connection: ServerConnection) -> None:
        assert connection.request is not None
        await connection.send(str("Authorization" in connection.request.headers))

    async def main() -> str | bytes:
        async with serving(answer) as url, opened(url, key="") as socket:
            return await socket.receive()

    assert clock.run(main(), virtual=True) == "False"


def test_no_key_for_a_remote_service_names_the_variable() -> None:
    async def main() -> None:
        async with opened("https://api.deepgram.com", key=""):
            pytest.fail("it opened")

    with pytest.raises(CredentialsError, match="Set DEEPGRAM_API_KEY"):
        clock.run(main(), virtual=True)


@pytest.mark.parametrize("key", ["secret\n", "se cret", "sécret", "a\r\nX-Evil: 1"])
def test_a_key_that_is_none_is_refused_without_being_told(key: str) -> None:
    async def main() -> None:
        async with opened("http://127.0.0.1:9", key=key):
            pytest.fail("it opened")

    with pytest.raises(CredentialsError) as caught:
        clock.run(main(), virtual=True)
    assert "DEEPGRAM_API_KEY" in str(caught.value)
    assert key.strip() not in str(caught.value)


def test_the_key_is_logged_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    async def answer(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async def main() -> None:
        silent = logging.Logger("server", logging.CRITICAL)
        async with serving(answer, logger=silent) as url, opened(url) as socket:
            assert KEY not in repr(socket)

    with caplog.at_level(logging.DEBUG):
        clock.run(main(), virtual=True)
    assert KEY not in caplog.text


REFUSALS = [
    ("400 Bad Request", "a setting is refused", "`stt`", False),
    ("401 Unauthorized", "the key is refused", "DEEPGRAM_API_KEY", False),
    ("402 Payment Required", "no credit left", "Top it up", False),
    ("403 Forbidden", "no model has this name", "`stt.model`", False),
    ("404 Not Found", "no such service", "URL", False),
    ("429 Too Many Requests", "too many connections", "wait", True),
    ("503 Service Unavailable", "failed", "later", True),
    ("418 Teapot", "opened no WebSocket", "proxy", False),
]


@pytest.mark.parametrize(("status", "cause", "hint", "temporary"), REFUSALS)
def test_a_refusal_says_what_it_means(status: str, cause: str, hint: str, temporary: bool) -> None:
    error = failure_of(
        lambda: answering(http(status, dg_error="What it says.", dg_request_id="id-7"))
    )
    code = int(status[:3])
    assert cause in error.cause
    assert error.cause.endswith(f"(HTTP {code}: What it says.) (request id id-7)")
    assert error.cause.startswith("STT: ")
    assert hint in error.hint
    assert (error.status, error.request_id, error.temporary) == (code, "id-7", temporary)
    assert isinstance(error, RefusedError) == (code in (401, 403))


def test_a_refusal_without_its_header_is_read_from_the_body() -> None:
    body = json.dumps({"err_code": "INVALID_AUTH", "err_msg": "Invalid credentials."}).encode()
    assert (
        "(HTTP 401: Invalid credentials.)"
        in failure_of(lambda: answering(http("401 Unauthorized", body))).cause
    )


@pytest.mark.parametrize("body", [b"[1]", b'{"err_msg": 5}', b"\xff\xfe", b"[" * 100_000])
def test_a_body_of_any_shape_is_survived(body: bytes) -> None:
    error = failure_of(lambda: answering(http("500 Oops", body)))
    assert error.status == 500
    assert len(error.cause) < 400


def test_a_proxy_that_answers_with_a_page_is_called_no_websocket() -> None:
    error = failure_of(lambda: answering(http("200 OK", b"<h1>Log in\x1b[2J</h1>")))
    assert "opened no WebSocket (HTTP 200: <h1>Log in</h1>)" in error.cause
    assert "proxy" in error.hint


def test_a_server_of_another_protocol_is_called_no_websocket() -> None:
    error = failure_of(lambda: answering(b"SSH-2.0-OpenSSH_9.6\r\n"))
    assert "opened no WebSocket" in error.cause
    assert not error.temporary


def test_a_server_that_hangs_up_at_once_is_temporary() -> None:
    error = failure_of(lambda: answering(b""))
    assert "hung up" in error.cause
    assert error.temporary


@asynccontextmanager
async def nobody() -> AsyncGenerator[str, None]:
    async with answering(b"") as url:
        pass
    yield url  # its port is free again


def test_nobody_listening_is_said_with_the_address() -> None:
    error = failure_of(nobody)
    assert "nothing listens at 127.0.0.1:" in error.cause
    assert error.temporary


def silence() -> AbstractAsyncContextManager[str]:
    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    return listening(wait)


def test_no_answer_ends_with_the_time_out() -> None:
    error = failure_of(silence)
    assert "within 3 s" in error.cause
    assert error.temporary


def plain_instead_of_tls() -> AbstractAsyncContextManager[str]:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    return listening(babble, "https")


def test_failing_tls_is_no_matter_of_trying_again() -> None:
    error = failure_of(plain_instead_of_tls)
    assert "no secure connection" in error.cause
    assert isinstance(error.__cause__, ssl.SSLError)
    assert not error.temporary


def test_a_host_without_an_address_is_said_to_be_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")

    async def main() -> None:
        async with opened("https://no-such-host.invalid"):
            pytest.fail("it opened")

    # whether a resolver answers depends on the machine
    with pytest.raises(ServiceError, match=r"the name no-such-host\.invalid (is unknown|cannot)"):
        clock.run(main(), virtual=True)


def _os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def _several(*numbers: int) -> OSError:
    """What asyncio raises for a host with several addresses."""
    return OSError(f"Multiple exceptions: {', '.join(str(_os_error(one)) for one in numbers)}")


@pytest.mark.parametrize(
    ("error", "kind", "temporary", "cause"),
    [
        (TimeoutError(), ServiceError, True, "no answer from host.example within 5 s"),
        (_os_error(errno.ETIMEDOUT), ServiceError, True, "no answer from host.example"),
        (_os_error(errno.ECONNRESET), ServiceError, True, "cannot reach host.example"),
        (_os_error(errno.ECONNREFUSED), AbsentError, True, "nothing listens at host.example"),
        (_several(errno.ECONNREFUSED, errno.ECONNREFUSED), AbsentError, True, "nothing listens"),
        (_several(errno.ENETUNREACH, errno.ECONNREFUSED), AbsentError, True, "nothing listens"),
        (_os_error(errno.ENETUNREACH), OfflineError, True, "cannot reach host.example"),
        (_several(errno.ENETUNREACH, errno.EHOSTUNREACH), OfflineError, True, "cannot reach"),
        (sockets.gaierror(sockets.EAI_AGAIN, ""), OfflineError, True, "cannot be looked up"),
        (sockets.gaierror(sockets.EAI_NONAME, ""), AbsentError, True, "is unknown"),
        (ssl.SSLEOFError(), ServiceError, True, "hung up before it answered"),
        (ssl.SSLCertVerificationError(), ServiceError, False, "no secure connection"),
    ],
    ids=str,
)
def test_what_no_connection_means(
    error: OSError, kind: type[ServiceError], temporary: bool, cause: str
) -> None:
    endpoint = check_url("stt", "https://host.example")
    found = create_connect_error("stt", endpoint, 5.0, error)
    assert type(found) is kind
    assert found.temporary is temporary
    assert cause in found.cause


# ── ends ─────────────────────────────────────────────────────────────────────

CLOSES = [
    (1008, "DATA-0000", "made no sense", False),
    (1008, "Too fast. See https://dpgr.am/data0001", "too much text", True),
    (1008, "go away", "refuses what was sent", False),
    (1009, "BIG-0001", "too long", False),
    (1003, "MESSAGE-0000", "takes no such message", False),
    (1011, "NET-0000", "failed to answer in time", True),
    (
        1011,
        "Deepgram did not receive audio data or a text message within the timeout window. "
        "See https://dpgr.am/net0001",
        "nothing from here reached the service",
        True,
    ),
    (1011, "NET-0002", "could not send", True),
    (1011, "NET-0003", "time limit", True),
    (1011, "oops", "the service failed", True),
    (4000, "", "the service closed the connection", True),
]


@pytest.mark.parametrize(("code", "reason", "cause", "temporary"), CLOSES)
def test_a_close_says_what_it_means(code: int, reason: str, cause: str, temporary: bool) -> None:
    error = end_of(closing(code, reason))
    assert cause in error.cause
    assert (error.status, error.temporary) == (code, temporary)
    assert error.cause.endswith(f"({code}: {reason})" if reason else f"({code})")
    assert not isinstance(error, CloseError)


def test_a_normal_close_can_be_told_from_the_others() -> None:
    assert isinstance(end_of(closing(1000)), CloseError)


def test_a_connection_that_vanishes_is_lost() -> None:
    async def vanish(connection: ServerConnection) -> None:
        connection.transport.abort()

    error = end_of(vanish)
    assert "the connection was lost" in error.cause
    assert (error.status, error.temporary) == (1006, True)


def test_a_peer_that_answers_no_ping_is_dead() -> None:
    async def main() -> None:
        async def deaf(connection: ServerConnection) -> None:
            connection.transport.pause_reading()
            await connection.wait_closed()

        async with serving(deaf, ping_interval=None, close_timeout=0.1) as url:
            async with opened(url) as socket:
                with pytest.raises(ServiceError, match="the connection is dead") as caught:
                    await socket.receive()
            assert caught.value.temporary
            assert clock.now() == pytest.approx(PING_INTERVAL + PING_TIMEOUT + 1.0)

    clock.run(main(), virtual=True)


def test_sending_on_a_closed_connection_fails_in_the_same_words() -> None:
    async def main() -> None:
        async with serving(closing(1011, "NET-0003")) as url, opened(url) as socket:
            with pytest.raises(ServiceError, match="time limit"):
                await socket.receive()
            with pytest.raises(ServiceError, match="time limit"):
                await socket.send("x")

    clock.run(main(), virtual=True)


def test_what_nobody_receives_stops_no_pong() -> None:
    async def main() -> None:
        async def babble(connection: ServerConnection) -> None:
            for _ in range(100):
                await connection.send(b"x")
            await connection.wait_closed()

        async with serving(babble) as url, opened(url) as socket:
            await asyncio.sleep(10 * PING_INTERVAL)
            assert socket.open

    clock.run(main(), virtual=True)


def test_leaving_waits_no_longer_than_a_second_for_a_peer_that_hangs() -> None:
    async def main() -> None:
        async def hang(connection: ServerConnection) -> None:
            connection.transport.pause_reading()
            await connection.wait_closed()

        async with serving(hang, ping_interval=None, close_timeout=0.1) as url:
            async with opened(url):
                before = clock.now()
            assert clock.now() == pytest.approx(before + 1.0)

    clock.run(main(), virtual=True)


def test_a_second_cancellation_while_closing_leaves_nothing_open() -> None:
    async def main() -> None:
        async def hang(connection: ServerConnection) -> None:
            connection.transport.pause_reading()
            await connection.wait_closed()

        async def hold(url: str, sockets: list[Socket]) -> None:
            async with opened(url) as socket:
                sockets.append(socket)
                await socket.receive()

        async with serving(hang, ping_interval=None, close_timeout=0.1) as url:
            sockets: list[Socket] = []
            holder = asyncio.create_task(hold(url, sockets))
            await asyncio.sleep(1.0)
            for _ in range(2):
                holder.cancel()
                await asyncio.sleep(0.1)
            assert holder.cancelled()
            assert not sockets[0].open
            assert sockets[0]._connection.transport.is_closing()

    clock.run(main(), virtual=True)
