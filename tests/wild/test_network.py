"""Proxies, certificates and names, as the environment gives them, for all three services alike."""

from __future__ import annotations

import asyncio
import gc
import re
import ssl
import struct
import warnings
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import util
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.support.probes import Serve, answer_with, open_server
from tests.wild import Case
from voicecli import clock
from voicecli.environment.network import find_proxy
from voicecli.errors import VoiceError
from voicecli.services.deepgram import create_handshake
from voicecli.services.deepgram.socket import open_socket
from voicecli.services.interfaces import Message
from voicecli.services.openai.chat import open_chat
from voicecli.services.openai.settings import ChatSettings
from voicecli.services.provider import ServiceAddress

HOST = "api.invalid"
"""A name that no resolver knows: what is reached was reached through a proxy."""

KEY = "0123456789abcdef0123456789abcdef01234567"
REFUSAL = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n"
SERVICES = ("stt", "llm", "tts")
HAS_SOCKS = None not in map(util.find_spec, ("python_socks", "socksio"))

ANSWERED = "the key is refused"
"""What the service behind the proxy says: the proxy works."""


@dataclass(frozen=True, kw_only=True)
class NetworkCase(Case):
    """An environment.

    environ: {live}, {dead}, {silent} and {refusing} are ports of proxies, {folder} is a folder.
    code, after: how each service ends: with this exit code, and a message that has this in it.
    services: those that the environment concerns.
    socks: whether the packages for SOCKS are needed.
    """

    kind: str = "network"
    environ: Mapping[str, str] = field(hash=False)
    code: int
    services: Sequence[str] = SERVICES
    socks: bool = False


def case(
    name: str, environ: Mapping[str, str], before: str, code: int, after: str, **more: Any
) -> Any:
    return NetworkCase(name=name, environ=environ, before=before, code=code, after=after, **more)


DEAD = "nothing listens at the proxy 127.0.0.1:{dead} (%s)"
NOT_AN_ADDRESS = "%s: %s is not the address of a proxy"

CASES = (
    case(
        "dead HTTPS_PROXY",
        {"HTTPS_PROXY": "http://127.0.0.1:{dead}"},
        "STT, TTS 5: the service is absent; LLM 5: the connection failed",
        5,
        DEAD % "HTTPS_PROXY",
    ),
    case(
        "dead https_proxy",
        {"https_proxy": "http://127.0.0.1:{dead}"},
        "STT, TTS 5: the service is absent; LLM 5: the connection failed",
        5,
        DEAD % "https_proxy",
    ),
    case(
        "lower case wins",
        {"HTTPS_PROXY": "http://127.0.0.1:{live}", "https_proxy": "http://127.0.0.1:{dead}"},
        "STT, TTS 5: the service is absent; LLM 5: the connection failed",
        5,
        DEAD % "https_proxy",
    ),
    case(
        "dead ALL_PROXY",
        {"ALL_PROXY": "http://127.0.0.1:{dead}"},
        "STT, TTS 5: unknown name; LLM 5: the connection failed",
        5,
        DEAD % "ALL_PROXY",
    ),
    case(
        "HTTPS_PROXY before ALL_PROXY",
        {"HTTPS_PROXY": "http://127.0.0.1:{live}", "ALL_PROXY": "http://127.0.0.1:{dead}"},
        "3: the key is refused",
        3,
        ANSWERED,
    ),
    case(
        "dead WSS_PROXY",
        {"WSS_PROXY": "http://127.0.0.1:{dead}"},
        "5: the service is absent",
        5,
        DEAD % "WSS_PROXY",
        services=("stt", "tts"),
    ),
    case(
        "WSS_PROXY is not the LLM's",
        {"WSS_PROXY": "http://127.0.0.1:{dead}", "ALL_PROXY": "http://127.0.0.1:{live}"},
        "3: the key is refused",
        3,
        ANSWERED,
        services=("llm",),
    ),
    case(
        "an empty variable",
        {"HTTPS_PROXY": "", "ALL_PROXY": "http://127.0.0.1:{live}"},
        "STT, TTS 5: unknown name; LLM 3: the key is refused",
        3,
        ANSWERED,
    ),
    case(
        "no scheme",
        {"HTTPS_PROXY": "127.0.0.1:{live}"},
        "STT, TTS 5: opened no WebSocket; LLM 3: the key is refused",
        3,
        ANSWERED,
    ),
    case(
        "no scheme, a slash, spaces",
        {"HTTPS_PROXY": " 127.0.0.1:{live}/ "},
        "STT, TTS 5: opened no WebSocket; LLM 5: the connection failed",
        3,
        ANSWERED,
    ),
    case(
        "upper-case scheme",
        {"HTTPS_PROXY": "HTTP://127.0.0.1:{live}"},
        "3: the key is refused",
        3,
        ANSWERED,
    ),
    case(
        "user without a password",
        {"HTTPS_PROXY": "http://me@127.0.0.1:{live}"},
        "STT, TTS 5: opened no WebSocket; LLM 3: the key is refused",
        3,
        ANSWERED,
    ),
    case(
        "password in % codes",
        {"HTTPS_PROXY": "http://me:p%40%C3%A9@127.0.0.1:{live}"},
        "3: the key is refused",
        3,
        ANSWERED,
    ),
    case(
        "password not in % codes",
        {"HTTPS_PROXY": "http://me:pa/ss@127.0.0.1:{live}"},
        "STT, TTS 5: opened no WebSocket; LLM 70: InvalidURL",
        2,
        NOT_AN_ADDRESS % ("HTTPS_PROXY", "its value"),
    ),
    case(
        "no host",
        {"HTTPS_PROXY": "http://"},
        "STT, TTS 5: opened no WebSocket; LLM 5: the connection failed",
        2,
        NOT_AN_ADDRESS % ("HTTPS_PROXY", "'http://'"),
    ),
    case(
        "a port that is none",
        {"ALL_PROXY": "http://127.0.0.1:port"},
        "STT, TTS 5: unknown name; LLM 70: InvalidURL",
        2,
        NOT_AN_ADDRESS % ("ALL_PROXY", "'http://127.0.0.1:port'"),
    ),
    case(
        "a port beyond 65535",
        {"HTTPS_PROXY": "127.0.0.1:99999"},
        "STT, TTS 5: opened no WebSocket; LLM 70: ExceptionGroup",
        2,
        NOT_AN_ADDRESS % ("HTTPS_PROXY", "'127.0.0.1:99999'"),
    ),
    case(
        "a path",
        {"HTTPS_PROXY": "http://127.0.0.1/proxy.pac"},
        "STT, TTS 5: opened no WebSocket; LLM 5: the connection failed",
        2,
        NOT_AN_ADDRESS % ("HTTPS_PROXY", "'http://127.0.0.1/proxy.pac'"),
    ),
    case(
        "a sentence",
        {"HTTPS_PROXY": "ask the admin"},
        "STT, TTS 5: opened no WebSocket; LLM 5: the connection failed",
        2,
        NOT_AN_ADDRESS % ("HTTPS_PROXY", "'ask the admin'"),
    ),
    case(
        "half an IPv6 address",
        {"HTTPS_PROXY": "http://[::1:80"},
        "STT, TTS 70: ValueError; LLM 70: InvalidURL",
        2,
        NOT_AN_ADDRESS % ("HTTPS_PROXY", "'http://[::1:80'"),
    ),
    case(
        "unknown scheme",
        {"HTTPS_PROXY": "ftp://127.0.0.1:{live}"},
        "STT, TTS 5: opened no WebSocket; LLM 70: ValueError",
        2,
        "HTTPS_PROXY: 'ftp' proxies are not supported",
    ),
    case(
        "SOCKS 4",
        {"ALL_PROXY": "socks4://127.0.0.1:{live}"},
        "STT, TTS 5: unknown name; LLM 70: ValueError",
        2,
        "ALL_PROXY: 'socks4' proxies are not supported",
    ),
    case(
        "unknown name",
        {"HTTPS_PROXY": "http://proxy.invalid:80"},
        "STT, TTS 5: unknown name; LLM 5: the connection failed",
        5,
        "the name of the proxy proxy.invalid:80 (HTTPS_PROXY) is unknown",
    ),
    case(
        "silent proxy: STT, TTS",
        {"HTTPS_PROXY": "http://127.0.0.1:{silent}"},
        "5: no answer from api.invalid within 3 s",
        5,
        f"no answer from {HOST} through the proxy 127.0.0.1:{{silent}} (HTTPS_PROXY) within 3 s",
        services=("stt", "tts"),
    ),
    case(
        "silent proxy: LLM",
        {"HTTPS_PROXY": "http://127.0.0.1:{silent}"},
        "5: no word within 9 s",
        5,
        "no word within 9 s through the proxy 127.0.0.1:{silent} (HTTPS_PROXY)",
        services=("llm",),
    ),
    case(
        "proxy wants a password",
        {"HTTPS_PROXY": "http://127.0.0.1:{refusing}"},
        "STT, TTS 5: opened no WebSocket; LLM 5: the connection failed",
        5,
        f"the proxy 127.0.0.1:{{refusing}} (HTTPS_PROXY) opens no connection to {HOST} (407 No!",
    ),
    case(
        "NO_PROXY names the host",
        {"ALL_PROXY": "http://127.0.0.1:{dead}", "NO_PROXY": f"localhost, {HOST}"},
        "STT, TTS 5: unknown name; LLM 5: the connection failed",
        5,
        f"the name {HOST} is unknown",
    ),
    case(
        "NO_PROXY names the domain",
        {"ALL_PROXY": "http://127.0.0.1:{dead}", "NO_PROXY": ".invalid"},
        "STT, TTS 5: unknown name; LLM 5: the connection failed",
        5,
        f"the name {HOST} is unknown",
    ),
    case(
        "NO_PROXY with a wildcard",
        {"ALL_PROXY": "http://127.0.0.1:{dead}", "no_proxy": "*.invalid"},
        "STT, TTS 5: unknown name; LLM 5: the connection failed",
        5,
        f"the name {HOST} is unknown",
    ),
    case(
        "NO_PROXY=*, and more",
        {"ALL_PROXY": "http://127.0.0.1:{dead}", "NO_PROXY": "localhost,*"},
        "STT, TTS 5: unknown name; LLM 5: the connection failed",
        5,
        f"the name {HOST} is unknown",
    ),
    case(
        "SOCKS",
        {"ALL_PROXY": "socks5h://127.0.0.1:{live}"},
        "STT, TTS 5: unknown name; LLM 3: the key is refused",
        3,
        ANSWERED,
        socks=True,
    ),
    case(
        "SOCKS as GNOME writes it",
        {"all_proxy": "socks://127.0.0.1:{live}/"},
        "STT, TTS 5: unknown name; LLM 70: ValueError",
        3,
        ANSWERED,
        socks=True,
    ),
    case(
        "SOCKS_PROXY",
        {"SOCKS_PROXY": "127.0.0.1:{live}"},
        "STT, TTS 5: opened no WebSocket; LLM 5: the connection failed",
        3,
        ANSWERED,
        socks=True,
    ),
    case(
        "dead SOCKS",
        {"ALL_PROXY": "socks5://127.0.0.1:{dead}"},
        "STT, TTS 5: unknown name; LLM 5: the connection failed",
        5,
        DEAD % "ALL_PROXY",
        socks=True,
    ),
    case(
        "SOCKS that refuses",
        {"ALL_PROXY": "socks5h://127.0.0.1:{refusing}"},
        "STT, TTS 5: unknown name; LLM 5: the connection failed",
        5,
        f"the proxy 127.0.0.1:{{refusing}} (ALL_PROXY) opens no connection to {HOST} (",
        socks=True,
    ),
    case(
        "SSL_CERT_FILE is missing",
        {"SSL_CERT_FILE": "{folder}/none.pem"},
        "STT, TTS 5: unknown name; LLM 70: FileNotFoundError",
        2,
        "SSL_CERT_FILE: {folder}/none.pem cannot be read (No such file or directory)",
    ),
    case(
        "SSL_CERT_FILE is a folder",
        {"SSL_CERT_FILE": "{folder}"},
        "STT, TTS 5: unknown name; LLM 70: IsADirectoryError",
        2,
        "SSL_CERT_FILE: {folder} cannot be read (Is a directory)",
    ),
    case(
        "SSL_CERT_FILE is empty",
        {"SSL_CERT_FILE": "/dev/null"},
        "STT, TTS 5: unknown name; LLM 70: SSLError",
        2,
        "SSL_CERT_FILE: /dev/null holds no certificate in PEM format",
    ),
    case(
        "SSL_CERT_FILE is another authority's",
        {"SSL_CERT_FILE": "{folder}/other.pem", "ALL_PROXY": "127.0.0.1:{live}"},
        "STT, TTS 5: unknown name; LLM 5: the connection failed",
        5,
        f"no secure connection to {HOST} through the proxy",
    ),
    case(
        "SSL_CERT_DIR is missing",
        {"SSL_CERT_FILE": "", "SSL_CERT_DIR": "{folder}/none"},
        "STT, TTS 5: unknown name; LLM 5: the connection failed",
        2,
        "SSL_CERT_DIR: {folder}/none cannot be read (No such file or directory)",
    ),
    case(
        "SSL_CERT_DIR is a file",
        {"SSL_CERT_DIR": "/dev/null"},
        "STT, TTS 5: unknown name; LLM 5: the connection failed",
        2,
        "SSL_CERT_DIR: /dev/null cannot be read (Not a directory)",
    ),
    case(
        "SSLKEYLOGFILE in no folder",
        {"SSLKEYLOGFILE": "{folder}/none/keys"},
        "STT, TTS 5: unknown name; LLM 70: FileNotFoundError",
        2,
        "SSLKEYLOGFILE: {folder}/none/keys cannot be written (No such file or directory)",
    ),
    case(
        "SSLKEYLOGFILE is a folder",
        {"SSLKEYLOGFILE": "{folder}"},
        "STT, TTS 5: unknown name; LLM 70: IsADirectoryError",
        2,
        "SSLKEYLOGFILE: {folder} cannot be written (Is a directory)",
    ),
    case(
        "OPENAI_ORG_ID that is no header",
        {"OPENAI_ORG_ID": "org-é"},
        "70: UnicodeEncodeError",
        2,
        "OPENAI_ORG_ID contains an invalid character",
        services=("llm",),
    ),
    case(
        "OPENAI_PROJECT_ID with a line end",
        {"OPENAI_PROJECT_ID": "proj\n2"},
        "5: the connection failed",
        2,
        "OPENAI_PROJECT_ID contains an invalid character",
        services=("llm",),
    ),
)


class ProxyServer:
    """An HTTP and SOCKS 5 proxy that leads to the same port, whatever it is asked for.

    asked: the requests; refuses: whether it answers them with a refusal.
    """

    def __init__(self, port: int = 0, *, refuses: bool = False) -> None:
        self.asked: list[bytes] = []
        self._port = port
        self._refuses = refuses

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.readexactly(1)
        if first == b"\x05":
            (count,) = await reader.readexactly(1)
            await reader.readexactly(count)
            writer.write(b"\x05\x00")
            kind, length = struct.unpack("!3xBB", await reader.readexactly(5))
            assert kind == 3, "the name is the proxy's to resolve"
            self.asked.append(await reader.readexactly(length + 2))
            writer.write(bytes([5, 2 if self._refuses else 0, 0, 1, 0, 0, 0, 0, 0, 0]))
        else:
            self.asked.append(first + await reader.readuntil(b"\r\n\r\n"))
            refusal = b"407 No!\r\nContent-Length: 0"
            writer.write(b"HTTP/1.1 %b\r\n\r\n" % (refusal if self._refuses else b"200 OK"))
        if self._refuses:
            return
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._port)
        pipes = [asyncio.create_task(pipe(reader, inner_writer))]
        pipes += [asyncio.create_task(pipe(inner_reader, writer))]
        await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
        for one in pipes:
            one.cancel()
        await asyncio.wait(pipes)
        inner_writer.transport.abort()


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def call(service: str, key: str = KEY) -> None:
    """Open ``service`` at HOST, and make it answer."""
    address = ServiceAddress(url=f"https://{HOST}", key=key, key_env="KEY")
    if service == "llm":
        async with open_chat(ChatSettings(first_token_timeout=9.0), address) as chat:
            async for _ in chat.reply([Message("user", "Hello?")]):
                pass
    else:
        handshake = create_handshake("/v1/listen", address, 3.0)
        async with open_socket(service, address, handshake):
            pass


@dataclass(frozen=True)
class Outcome:
    code: int
    message: str


def outcome_of(error: Exception | None) -> Outcome:
    if error is None:
        return Outcome(0, "it opened")
    if isinstance(error, VoiceError):
        return Outcome(error.exit_code, str(error))
    return Outcome(70, f"{type(error).__name__}: {error}")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch, authority: trustme.CA, tmp_path: Path) -> Path:
    """The environment without a proxy, trusting ``authority``; a folder for files."""
    for name in ("http", "https", "all", "wss", "ws", "socks", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name.upper()}_PROXY", raising=False)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    monkeypatch.delenv("SSLKEYLOGFILE", raising=False)
    return tmp_path


@asynccontextmanager
async def open_tracked(speak: Serve, context: ssl.SSLContext | None = None) -> AsyncGenerator[int]:
    """Like ``open_server``, and wait until every conversation has ended."""
    conversations: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversations.append(asyncio.current_task())
        await speak(reader, writer)

    async with open_server(serve, context) as port:
        yield port
        await asyncio.gather(*filter(None, conversations))


@asynccontextmanager
async def open_proxies(authority: trustme.CA) -> AsyncGenerator[tuple[dict[str, str], ProxyServer]]:
    """Yield the ports of CASES by name, and the proxy that works."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(HOST).configure_cert(context)
    async with open_tracked(answer_with(REFUSAL), context) as port:
        live = ProxyServer(port)
        async with (
            open_tracked(live.serve) as live_port,
            open_tracked(say_nothing) as silent,
            open_tracked(ProxyServer(refuses=True).serve) as refusing,
        ):
            async with open_server(say_nothing) as dead:
                pass
            ports = {"live": live_port, "silent": silent, "refusing": refusing, "dead": dead}
            yield {name: str(port) for name, port in ports.items()}, live


def collect_leaks() -> None:
    """Collect the connection that httpcore2 2.16 leaves open when a SOCKS proxy refuses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def call_with(
    case: NetworkCase, folder: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, Outcome], str, ProxyServer]:
    """The outcome by service, what was expected, and the proxy that works."""

    async def main() -> tuple[dict[str, Outcome], str, ProxyServer]:
        found = {}
        async with open_proxies(authority) as (ports, live):
            names = ports | {"folder": str(folder)}
            for name, value in case.environ.items():
                monkeypatch.setenv(name, re.sub(r"\{(\w+)\}", lambda m: names[m[1]], value))
            for service in case.services:
                error = None
                try:
                    await call(service)
                except Exception as one:
                    error = one
                found[service] = outcome_of(error)
                if case.socks:
                    error = None
                    collect_leaks()
            return found, case.after.format_map(names), live

    return clock.run(main(), virtual=True)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_service_says_the_same(
    case: NetworkCase, clean: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    if case.socks and not HAS_SOCKS:
        pytest.skip("needs python-socks and socksio")
    found, after, _ = call_with(case, clean, authority, monkeypatch)
    for service, outcome in found.items():
        assert (service, outcome.code, after in outcome.message) == (service, case.code, True), (
            outcome.message
        )
        assert "pa/ss" not in outcome.message


@pytest.mark.skipif(not HAS_SOCKS, reason="needs python-socks and socksio")
def test_a_socks_proxy_resolves_the_name(
    clean: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    (socks,) = [one for one in CASES if one.name == "SOCKS"]
    _, _, proxy = call_with(socks, clean, authority, monkeypatch)
    assert proxy.asked == [HOST.encode() + (443).to_bytes(2)] * 3


def test_a_password_in_percent_codes_reaches_the_proxy(
    clean: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    (coded,) = [one for one in CASES if one.name == "password in % codes"]
    _, _, proxy = call_with(coded, clean, authority, monkeypatch)
    assert len(proxy.asked) == 3
    assert all(b"Proxy-Authorization: Basic bWU6cEDDqQ==\r\n" in one for one in proxy.asked)


def test_a_missing_socks_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voicecli.environment.network.find_spec", lambda _: None)
    monkeypatch.setenv("ALL_PROXY", "socks5://10.0.0.1")
    with pytest.raises(VoiceError, match=r"ALL_PROXY names .*pip install 'voicecli\[socks\]'"):
        find_proxy("wss", HOST, 443)


def test_session_secrets_are_written_for_all_services(
    clean: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = clean / "keys"
    environ = {"SSLKEYLOGFILE": str(log), "ALL_PROXY": "127.0.0.1:{live}"}
    call_with(case("", environ, "", 3, ANSWERED), clean, authority, monkeypatch)
    randoms = {line.split()[1] for line in log.read_text().splitlines() if line[0] != "#"}
    assert len(randoms) == 3


@pytest.mark.parametrize(
    ("exempt", "host"),
    [
        ("10.0.0.0/8", "10.1.2.3"),
        ("10.1.2.3", "10.1.2.3"),
        ("fd00::/8", "fd00::1"),
        ("[fd00::1]", "fd00::1"),
        ("Example.org", "api.example.org"),
        (".example.org", "api.example.org"),
        ("*.example.org", "api.example.org"),
        ("a.example,api.example.org:443", "api.example.org"),
    ],
)
def test_no_proxy_lists_names_domains_and_networks(
    exempt: str, host: str, clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://10.0.0.1:1")
    assert find_proxy("https", host, 443) is not None
    monkeypatch.setenv("NO_PROXY", exempt)
    assert find_proxy("https", host, 443) is None
    assert find_proxy("https", "api.openai.com", 443) is not None
