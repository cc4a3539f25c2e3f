"""The way to a service: its phases, what they mean, and where it ends."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from tests.support.probes import Speak, says, scripted, served, server
from voicecli import clock
from voicecli.errors import VoiceError
from voicecli.events import Service
from voicecli.pipeline.wiring import Services, open_services
from voicecli.probe.diagnosis import diagnosis
from voicecli.probe.results import ProbeResults
from voicecli.probe.run import Probe
from voicecli.probe.schedule import Plan
from voicecli.probe.settings import visit
from voicecli.probe.trace import Route, Visit, travel
from voicecli.services.endpoint import check_url


def http(url: str, **more: object) -> Visit:
    options = {"service": "llm", "path": "/models/x", "headers": {}, "websocket": False} | more
    return Visit(endpoint=check_url("llm", url), **options)  # type: ignore[arg-type]


def visited(
    speak: Speak, make: Callable[[int], Visit], context: ssl.SSLContext | None = None
) -> Route:
    async def main() -> Route:
        async with server(speak, context) as port:
            return await travel(make(port), {})

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
    async def go(services: Services) -> Route:
        return await travel(visit(service, services), {})

    route = served(scripted(tmp_path, {}), go)

    assert (list(route.phases), route.status, route.failed) == (phases, status, "")
    assert route.address == "127.0.0.1"


def test_an_answer_that_takes_its_time_is_timed_new_and_reused() -> None:
    route = visited(says(OK, after=0.25), lambda port: http(f"http://127.0.0.1:{port}"))

    assert route.phases["open"] == pytest.approx(0.25, abs=0.005)
    assert route.phases["trip"] == pytest.approx(0.25, abs=0.005)
    assert route.phases["tcp"] == pytest.approx(0.0, abs=0.005)


def test_a_server_that_hangs_up_after_an_answer_has_no_second_one() -> None:
    closing = b"HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    route = visited(says(closing), lambda port: http(f"http://127.0.0.1:{port}"))

    assert (list(route.phases), route.status, route.failed) == (["dns", "tcp", "open"], 404, "")


def test_a_refused_upgrade_is_an_answer(tmp_path: Path) -> None:
    refused = {"service": "stt", "kind": "refuse", "status": 429, "on": "every"}

    async def go(services: Services) -> Route:
        return await travel(visit("stt", services), {})

    route = served(scripted(tmp_path, {"faults": [refused]}), go)

    assert (list(route.phases), route.status, route.failed) == (["dns", "tcp", "open"], 429, "")


def test_without_a_key_nothing_is_asked_for() -> None:
    route = visited(says(OK), lambda port: http(f"http://127.0.0.1:{port}", ask=False))

    assert list(route.phases) == ["dns", "tcp"]


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

    route = visited(says(OK), lambda port: http(f"https://127.0.0.1:{port}"), certified(authority))

    assert list(route.phases) == ["dns", "tcp", "tls", "open", "trip"]


def test_an_authority_that_nobody_trusts_is_where_it_ends(authority: trustme.CA) -> None:
    route = visited(says(OK), lambda port: http(f"https://127.0.0.1:{port}"), certified(authority))

    assert route.failed == "tls"
    assert diagnosis([route]) == (
        "no secure connection (unable to get local issuer certificate): this machine does not "
        "trust who answers, be it a proxy that reads along or a wrong clock"
    )


def through(proxy: Speak, url: str) -> Route:
    async def main() -> Route:
        async with server(proxy) as port:
            visit = http(url, headers={"Authorization": "Bearer secret"})
            return await travel(visit, {"https": f"http://me:secret@127.0.0.1:{port}"})

    return clock.run(main(), virtual=True)


def test_a_proxy_is_a_phase_of_its_own_and_its_refusal_told() -> None:
    route = through(says(b"HTTP/1.1 407 No\r\n\r\n"), "https://api.example")

    assert (route.failed, route.proxy, list(route.phases)) == ("proxy", "127.0.0.1", ["dns", "tcp"])
    assert "the proxy says: HTTP/1.1 407 No" in diagnosis([route])
    assert "secret" not in repr(route)


def test_a_proxy_is_asked_for_the_host_and_given_the_password() -> None:
    asked: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

    route = through(note, "https://api.example")

    assert asked[0].startswith(b"CONNECT api.example:443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic bWU6c2VjcmV0\r\n" in asked[0]
    assert (list(route.phases), route.failed) == (["dns", "tcp", "proxy"], "tls")


def test_this_machine_is_reached_without_a_proxy() -> None:
    async def main() -> Route:
        async with server(says(OK)) as port:
            return await travel(http(f"http://127.0.0.1:{port}"), {"https": "http://10.0.0.1:1"})

    assert clock.run(main(), virtual=True).proxy == ""


# ── where it ends ────────────────────────────────────────────────────────────


def websocket(port: int) -> Visit:
    return http(f"http://127.0.0.1:{port}", service="stt", websocket=True, path="/v1/listen?x=1")


@pytest.mark.parametrize("make", [websocket, lambda port: http(f"http://127.0.0.1:{port}")])
def test_a_plain_text_answer_is_told(make: Callable[[int], Visit]) -> None:
    route = visited(says(b"Please log in to the hotel's network.\r\n\r\n"), make)

    assert route.failed == "open"
    assert "check the URL, and any proxy in between" in diagnosis([route])


@pytest.mark.parametrize("make", [websocket, lambda port: http(f"http://127.0.0.1:{port}")])
def test_hanging_up_is_told(make: Callable[[int], Visit]) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    route = visited(hang_up, make)

    assert (route.failed, route.why) == ("open", "it hung up")


def test_silence_is_told_after_the_time_out() -> None:
    route = visited(says(b""), lambda port: http(f"http://127.0.0.1:{port}", timeout=3.0))

    assert (route.failed, route.why) == ("open", "nothing within 3 s")


def test_a_closed_port_is_told() -> None:
    async def main() -> Route:
        async with server(says(OK)) as port:
            pass
        return await travel(http(f"http://127.0.0.1:{port}"), {})

    route = clock.run(main(), virtual=True)

    assert route.failed == "tcp"
    assert "takes no connection" in diagnosis([route])


def test_an_unknown_name_is_told() -> None:
    route = clock.run(travel(http("https://nowhere.invalid"), {}), virtual=True)

    assert (route.failed, route.phases) == ("dns", {})
    assert diagnosis([route]).startswith("the name nowhere.invalid is not resolved (")


# ── and the service is given up, while the others are probed ─────────────────

SERVICES = pytest.mark.parametrize("service", ["stt", "llm", "tts"])


def given_up(
    folder: Path,
    service: Service,
    speak: Speak,
    context: ssl.SSLContext | None = None,
) -> VoiceError:
    """Why ``service`` is, where it is answered by that server."""

    async def main() -> ProbeResults:
        async with server(speak, context) as port:
            url = f"http{'s' if context else ''}://localhost:{port}"
            profile = scripted(folder, {}, f"{service}.base_url={url}")
            async with open_services(profile) as services:
                plan = Plan(count=1, warmup=0)
                return await Probe(profile, services, ("stt", "llm", "tts"), plan).run()

    found = clock.run(main(), virtual=True)
    assert list(found.given_up) == [service]
    assert {one.service for one in found.readings} == {"stt", "llm", "tts"} - {service}
    return found.given_up[service]


@SERVICES
def test_an_authority_that_nobody_trusts_is_a_line(
    tmp_path: Path, service: Service, authority: trustme.CA
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    error = given_up(tmp_path, service, says(OK), context)

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
                "llm": "the reply broke off",
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
    error = given_up(tmp_path, service, says(answer))

    assert error.exit_code == 5
    assert said[service] in str(error)
    assert "\n" not in str(error)


# ── what the phases mean ─────────────────────────────────────────────────────

NEAR = {"dns": 0.004, "tcp": 0.012, "tls": 0.020, "open": 0.018, "trip": 0.012}


def route(host: str = "api.deepgram.com", **phases: float) -> Route:
    return Route(service="stt", host=host, phases=NEAR | phases)


@pytest.mark.parametrize(
    ("routes", "sentence"),
    [
        ([route()], "12 ms away, nothing in the way; a new connection costs 54 ms, once"),
        (
            [route(tcp=0.150)],
            "the host is 150 ms away, and every answer takes that longer: look for a nearer one "
            "(api.eu.deepgram.com?)",
        ),
        (
            [route(open=0.400)],
            "the service takes 388 ms to answer, beyond the round trip: it is busy",
        ),
        (
            [route(tls=0.300)],
            "TLS takes 25.0 round trips: somebody in between reads along, or this machine is busy",
        ),
        (
            [route(dns=0.180)],
            "resolving the name takes 180 ms: only new connections pay for it, and a local cache "
            "helps",
        ),
        ([route("127.0.0.1:80")], "this machine: there is no network in between"),
        ([route("localhost")], "this machine: there is no network in between"),
        ([route("[::1]:80")], "this machine: there is no network in between"),
        # The median counts: one slow connection of three means nothing.
        (
            [route(), route(tcp=0.3), route()],
            "12 ms away, nothing in the way; a new connection costs 54 ms, once",
        ),
    ],
)
def test_one_sentence_says_what_the_phases_mean(routes: list[Route], sentence: str) -> None:
    assert diagnosis(routes) == sentence
