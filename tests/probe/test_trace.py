"""The way to a service: its phases, what they mean, and where it ends."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import trustme

from tests.support.probes import Serve, answer_with, open_server, run_with_services, scripted
from voicecli import clock
from voicecli.errors import VoiceError
from voicecli.events import Service
from voicecli.pipeline.wiring import Services, open_services
from voicecli.probe.results import ProbeResults, diagnose
from voicecli.probe.run import Probe, find_target
from voicecli.probe.schedule import Plan
from voicecli.probe.trace import ConnectionTarget, ConnectionTrace, trace_connection
from voicecli.services.endpoint import check_url
from voicecli.services.provider import Handshake


def http(
    url: str,
    *,
    service: Service = "llm",
    websocket: bool = False,
    path: str = "/models/x",
    headers: Mapping[str, str] | None = None,
    may_ask: bool = True,
    timeout: float = 5.0,
) -> ConnectionTarget:
    handshake = Handshake(path=path, websocket=websocket, headers=headers or {}, timeout=timeout)
    endpoint = check_url("llm", url)
    return ConnectionTarget(
        service=service, endpoint=endpoint, handshake=handshake, may_ask=may_ask
    )


def trace_server(
    speak: Serve, make: Callable[[int], ConnectionTarget], context: ssl.SSLContext | None = None
) -> ConnectionTrace:
    async def main() -> ConnectionTrace:
        async with open_server(speak, context) as port:
            return await trace_connection(make(port))

    return clock.run(main(), virtual=True)


OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


# ── phases ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("service", "phases", "status"),
    [
        ("stt", ["dns", "tcp", "open", "trip", "message"], 101),
        ("llm", ["dns", "tcp", "open", "trip"], 200),
        ("tts", ["dns", "tcp", "open", "message", "trip"], 101),
    ],
)
def test_the_phases_of_each_service(
    tmp_path: Path, service: Service, phases: list[str], status: int
) -> None:
    async def go(services: Services) -> ConnectionTrace:
        return await trace_connection(find_target(service, services))

    trace = run_with_services(scripted(tmp_path, {}), go)

    assert (list(trace.phases), trace.status, trace.failed) == (phases, status, "")
    assert trace.address == "127.0.0.1"


def test_an_answer_that_takes_its_time_is_timed_new_and_reused() -> None:
    trace = trace_server(answer_with(OK, after=0.25), lambda port: http(f"http://127.0.0.1:{port}"))

    assert trace.phases["open"] == pytest.approx(0.25, abs=0.005)
    assert trace.phases["trip"] == pytest.approx(0.25, abs=0.005)
    assert trace.phases["tcp"] == pytest.approx(0.0, abs=0.005)


def test_a_server_that_hangs_up_after_an_answer_has_no_second_one() -> None:
    closing = b"HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    trace = trace_server(answer_with(closing), lambda port: http(f"http://127.0.0.1:{port}"))

    assert (list(trace.phases), trace.status, trace.failed) == (["dns", "tcp", "open"], 404, "")


def test_a_connection_lost_after_the_answer_is_reported() -> None:
    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await reader.readuntil(b"\r\n\r\n")

    trace = trace_server(answer_once, lambda port: http(f"http://127.0.0.1:{port}"))

    assert (list(trace.phases), trace.failed) == (["dns", "tcp", "open"], "trip")
    assert "the connection was lost as soon as it was open" in diagnose([trace])


def test_a_refused_upgrade_is_an_answer(tmp_path: Path) -> None:
    refused = {"service": "stt", "kind": "refuse", "status": 429, "on": "every"}

    async def go(services: Services) -> ConnectionTrace:
        return await trace_connection(find_target("stt", services))

    trace = run_with_services(scripted(tmp_path, {"faults": [refused]}), go)

    assert (list(trace.phases), trace.status, trace.failed) == (["dns", "tcp", "open"], 429, "")


def test_without_a_key_nothing_is_asked_for() -> None:
    trace = trace_server(
        answer_with(OK), lambda port: http(f"http://127.0.0.1:{port}", may_ask=False)
    )

    assert list(trace.phases) == ["dns", "tcp"]


# ── TLS and proxies ──────────────────────────────────────────────────────────


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def certified(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


def test_tls_is_a_phase_of_its_own(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))

    trace = trace_server(
        answer_with(OK), lambda port: http(f"https://127.0.0.1:{port}"), certified(authority)
    )

    assert list(trace.phases) == ["dns", "tcp", "tls", "open", "trip"]


def test_an_authority_that_nobody_trusts_is_where_it_ends(authority: trustme.CA) -> None:
    trace = trace_server(
        answer_with(OK), lambda port: http(f"https://127.0.0.1:{port}"), certified(authority)
    )

    assert trace.failed == "tls"
    assert diagnose([trace]) == (
        "no secure connection (unable to get local issuer certificate): this machine does not "
        "trust the server's certificate; an intercepting proxy or a wrong clock may be the cause"
    )


def trace_through(
    proxy: Serve,
    make: Callable[[str], ConnectionTarget],
    monkeypatch: pytest.MonkeyPatch,
    scheme: str = "http",
) -> ConnectionTrace:
    async def main() -> ConnectionTrace:
        async with open_server(proxy) as port:
            monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://me:secret@127.0.0.1:{port}")
            return await trace_connection(make("https://api.example"))

    return clock.run(main(), virtual=True)


def http_with_key(url: str) -> ConnectionTarget:
    return http(url, headers={"Authorization": "Bearer secret"})


def websocket_with_key(url: str) -> ConnectionTarget:
    return http(url, service="stt", websocket=True, headers={"Authorization": "Token secret"})


# httpx2 connects to the proxy and then asks for a tunnel; websockets does both at once.
THROUGH_A_PROXY = pytest.mark.parametrize(
    ("make", "before"), [(http_with_key, ["dns", "tcp"]), (websocket_with_key, ["dns"])]
)


@THROUGH_A_PROXY
def test_a_proxy_is_a_phase_of_its_own_and_its_refusal_reported(
    make: Callable[[str], ConnectionTarget], before: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = trace_through(answer_with(b"HTTP/1.1 407 No\r\n\r\n"), make, monkeypatch)

    assert (trace.failed, trace.proxy, list(trace.phases)) == ("proxy", "127.0.0.1", before)
    assert "the proxy answered 407 No" in diagnose([trace])
    assert "secret" not in repr(trace)


@THROUGH_A_PROXY
def test_a_proxy_is_asked_for_the_host_and_given_the_password(
    make: Callable[[str], ConnectionTarget], before: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

    trace = trace_through(note, make, monkeypatch)

    assert asked[0].startswith(b"CONNECT api.example:443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic bWU6c2VjcmV0\r\n" in asked[0]
    assert (list(trace.phases), trace.failed) == ([*before, "proxy"], "tls")


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
def test_this_machine_is_reached_without_a_proxy(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "http://10.0.0.1:1")
    trace = trace_server(answer_with(OK), lambda port: http(f"http://127.0.0.1:{port}"))

    assert (trace.proxy, trace.failed) == ("", "")


def through_socks(answer: bytes, asked: list[bytes]) -> Serve:
    """A SOCKS 5 proxy that answers the request for a host so, and then hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greeting = await reader.readexactly(2)
        await reader.readexactly(greeting[1])
        writer.write(b"\x05\x02")
        await reader.readexactly(1)
        for _ in ("user", "password"):
            asked.append(await reader.readexactly((await reader.readexactly(1))[0]))
        writer.write(b"\x01\x00")
        head = await reader.readexactly(5)
        asked.append(await reader.readexactly(head[4] + 2))
        writer.write(answer)

    return serve


@pytest.fixture
def _socks() -> None:
    pytest.importorskip("python_socks")
    pytest.importorskip("socksio")


@pytest.mark.usefixtures("_socks")
@THROUGH_A_PROXY
def test_a_socks_proxy_is_a_phase_of_its_own(
    make: Callable[[str], ConnectionTarget], before: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []
    granted = through_socks(bytes([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]), asked)
    trace = trace_through(granted, make, monkeypatch, scheme="socks5")

    assert asked == [b"me", b"secret", b"api.example" + (443).to_bytes(2)]
    assert (list(trace.phases), trace.failed) == ([*before, "proxy"], "tls")


@pytest.mark.usefixtures("_socks")
@THROUGH_A_PROXY
def test_a_socks_proxy_that_refuses_is_reported(
    make: Callable[[str], ConnectionTarget], before: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = through_socks(bytes([5, 2, 0, 1, 0, 0, 0, 0, 0, 0]), [])
    trace = trace_through(refusing, make, monkeypatch, scheme="socks5")

    assert (list(trace.phases), trace.failed, trace.proxy) == (before, "proxy", "127.0.0.1")
    assert re.search("the proxy answered .*not allowed by ruleset", diagnose([trace]))


# ── where it ends ────────────────────────────────────────────────────────────


def websocket(port: int) -> ConnectionTarget:
    return http(f"http://127.0.0.1:{port}", service="stt", websocket=True, path="/v1/listen?x=1")


@pytest.mark.parametrize("make", [websocket, lambda port: http(f"http://127.0.0.1:{port}")])
def test_a_plain_text_answer_is_reported(make: Callable[[int], ConnectionTarget]) -> None:
    trace = trace_server(answer_with(b"Please log in to the hotel's network.\r\n\r\n"), make)

    assert trace.failed == "open"
    assert "check the URL, and any proxy in between" in diagnose([trace])


@pytest.mark.parametrize("make", [websocket, lambda port: http(f"http://127.0.0.1:{port}")])
def test_hanging_up_is_reported(make: Callable[[int], ConnectionTarget]) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    trace = trace_server(hang_up, make)

    assert (trace.failed, trace.why) == ("open", "it hung up")


def test_silence_is_reported_after_the_time_out() -> None:
    trace = trace_server(
        answer_with(b""), lambda port: http(f"http://127.0.0.1:{port}", timeout=3.0)
    )

    assert (trace.failed, trace.why) == ("open", "nothing within 3 s")


def test_a_closed_port_is_reported() -> None:
    async def main() -> ConnectionTrace:
        async with open_server(answer_with(OK)) as port:
            pass
        return await trace_connection(http(f"http://127.0.0.1:{port}"))

    trace = clock.run(main(), virtual=True)

    assert trace.failed == "tcp"
    assert "accepts no connection" in diagnose([trace])


def test_an_unknown_name_is_reported() -> None:
    trace = clock.run(trace_connection(http("https://nowhere.invalid")), virtual=True)

    assert (trace.failed, trace.phases) == ("dns", {})
    assert diagnose([trace]).startswith("the name nowhere.invalid is not resolved (")


# ── and the service is given up, while the others are probed ─────────────────

SERVICES = pytest.mark.parametrize("service", ["stt", "llm", "tts"])


def given_up(
    folder: Path,
    service: Service,
    speak: Serve,
    context: ssl.SSLContext | None = None,
) -> VoiceError:
    """Why ``service`` is, where it is answered by that server."""

    async def main() -> ProbeResults:
        async with open_server(speak, context) as port:
            url = f"http{'s' if context else ''}://localhost:{port}"
            profile = scripted(folder, {}, f"{service}.base_url={url}")
            async with open_services(profile) as services:
                plan = Plan(count=1, warmup=0)
                return await Probe(profile, services, ProbeResults(), plan).run()

    found = clock.run(main(), virtual=True)
    assert list(found.given_up) == [service]
    assert {one.service for one in found.samples} == {"stt", "llm", "tts"} - {service}
    return found.given_up[service]


@SERVICES
def test_an_authority_that_nobody_trusts_is_a_line(
    tmp_path: Path, service: Service, authority: trustme.CA
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    error = given_up(tmp_path, service, answer_with(OK), context)

    assert error.exit_code == 5
    assert "CERTIFICATE_VERIFY_FAILED" in str(error).upper()


@SERVICES
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 13\r\n\r\n"
            b"Please log in",
            {
                "stt": "answered, but opened no WebSocket (HTTP 200: Please log in)",
                "tts": "answered, but opened no WebSocket (HTTP 200: Please log in)",
                "llm": "answers with something that is no reply (text/plain: Please log in)",
            },
        ),
        (
            b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 4\r\n\r\nOops",
            dict.fromkeys(("stt", "llm", "tts"), "failed (HTTP 502"),
        ),
        (
            b"Please log in.\r\n\r\n",
            {
                "stt": "answered, but opened no WebSocket",
                "tts": "answered, but opened no WebSocket",
                "llm": "failed (",
            },
        ),
    ],
    ids=["200", "502", "no HTTP"],
)
def test_a_proxy_that_answers_in_plain_text_is_a_line(
    tmp_path: Path, service: Service, answer: bytes, said: dict[str, str]
) -> None:
    error = given_up(tmp_path, service, answer_with(answer))

    assert error.exit_code == 5
    assert said[service] in str(error)
    assert "\n" not in str(error)
