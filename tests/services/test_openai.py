"""What the LLM is asked, what its stream becomes, and what its failures are called."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import traceback
from contextlib import aclosing

import pytest

from tests.support.chat_server import (
    ASKED,
    HEAD,
    KEY,
    USAGE,
    Answer,
    Request,
    Server,
    address,
    delta,
    failure_of,
    heard,
    refusing,
    reply_to,
    streaming,
)
from voicecli import clock
from voicecli.errors import (
    CredentialsError,
    ProfileError,
    RefusedError,
    ServiceError,
    StalledError,
)
from voicecli.pipeline.reply import warm_llm
from voicecli.services.interfaces import Piece, Usage
from voicecli.services.openai.chat import USAGE_TIMEOUT, open_chat
from voicecli.services.openai.settings import API_URL, ChatSettings
from voicecli.services.provider import ServiceAddress

# ── the request ──────────────────────────────────────────────────────────────


def test_the_request_is_what_the_profile_says() -> None:
    _, server = reply_to(
        streaming(delta("stop", content="Hi")),
        model="gpt-4o-mini",
        max_tokens=99,
        temperature=0.4,
        extra={"service_tier": "priority"},
    )
    (request,) = server.requests
    assert request.line == "POST /v1/chat/completions HTTP/1.1"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.body == {
        "model": "gpt-4o-mini",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello?"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_completion_tokens": 99,
        "temperature": 0.4,
        "service_tier": "priority",
    }


def test_the_cap_goes_by_the_name_the_service_knows_and_no_temperature_is_none() -> None:
    _, server = reply_to(
        streaming(delta("stop", content="Hi")),
        max_tokens=9,
        max_tokens_name="max_tokens",
        temperature=None,
    )
    body = server.requests[0].body
    assert body["max_tokens"] == 9
    assert "max_completion_tokens" not in body
    assert "temperature" not in body


def test_this_machine_needs_no_key() -> None:
    _, server = reply_to(streaming(delta("stop", content="Hi")), key="")
    assert "authorization" not in server.requests[0].headers


def test_a_missing_key_names_its_variable() -> None:
    async def main() -> None:
        async with open_chat(ChatSettings(), address(API_URL, key="", key_env="MY_KEY")):
            pytest.fail("it opened")

    with pytest.raises(CredentialsError, match="Set MY_KEY"):
        clock.run(main(), virtual=True)


def test_the_key_goes_out_over_tls_only() -> None:
    async def main() -> None:
        async with open_chat(ChatSettings(), address("http://example.org/v1")):
            pytest.fail("it opened")

    with pytest.raises(ProfileError, match="over TLS only"):
        clock.run(main(), virtual=True)


def test_a_proxy_has_no_business_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:9")
    pieces, _ = reply_to(streaming(delta("stop", content="Hi")))
    assert pieces == ["Hi"]


def test_connections_are_kept_from_turn_to_turn() -> None:
    server = Server(streaming(delta("stop", content="Hi"), USAGE))

    async def main() -> None:
        async with server.chat() as chat:
            for _ in range(3):
                await heard(chat)
                await asyncio.sleep(60.0)

    clock.run(main(), virtual=True)
    assert len(server.requests) == 3
    assert server.connections == 1


def test_a_redraft_finds_an_open_connection() -> None:
    """Closing a stream early closes its connection; a second one was opened before."""
    server = Server(streaming(delta(content="Hi"), delta(content="."), pause=0.1))

    async def main() -> list[int]:
        async with server.chat() as chat:
            await warm_llm(chat)
            counts = [server.connections]
            draft = chat.reply(ASKED)
            await anext(draft)
            await draft.aclose()
            redraft = chat.reply(ASKED)
            await anext(redraft)
            counts.append(server.connections)
            await warm_llm(chat)
            counts.append(server.connections)
            await redraft.aclose()
            await anext(chat.reply(ASKED))
            return [*counts, server.connections]

    assert clock.run(main(), virtual=True) == [2, 2, 4, 4]


def test_a_connection_is_opened_without_the_library_and_a_reply_loads_it() -> None:
    """In a process of its own: here the library is loaded already."""
    code = """
import asyncio, sys
import voicecli.services.openai.chat
before = "httpx2" in sys.modules, "openai" in sys.modules
from tests.support.chat_server import ASKED, Server, delta, streaming
from voicecli import clock

async def main():
    server = Server(streaming(delta(content="Hi."), delta("stop")))
    async with server.chat() as chat:
        await chat.warm()
        warm = "openai" in sys.modules
        pieces = [piece async for piece in chat.reply(ASKED)]
        print(*before, warm, pieces, "openai" in sys.modules, server.connections)

clock.run(main(), virtual=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "False False False ['Hi.'] True 1", done.stderr


# ── the stream ───────────────────────────────────────────────────────────────


def test_a_reply_comes_in_pieces_and_ends_with_its_usage() -> None:
    pieces, _ = reply_to(
        streaming(
            delta(role="assistant", content=""),
            delta(content="Hel"),
            delta(content="lo."),
            delta("stop"),
            USAGE,
        )
    )
    assert pieces == ["Hel", "lo.", Usage(prompt_tokens=12, completion_tokens=3)]


def test_usage_on_the_last_piece_comes_last_too() -> None:
    last = delta("stop", content="Hi") | {"usage": USAGE["usage"]}
    assert reply_to(streaming(last))[0] == ["Hi", Usage(12, 3)]


def test_half_a_character_is_replaced() -> None:
    assert reply_to(streaming(delta("stop", content="a\ud83d")))[0] == ["a?"]


def test_a_usage_that_never_comes_holds_nothing_up() -> None:
    async def answer(request: Request) -> None:
        await request.write(HEAD)
        await request.event(delta("stop", content="Hi"))
        await asyncio.sleep(3.0)

    async def main() -> tuple[list[Piece], float]:
        async with Server(answer).chat() as chat:
            return await heard(chat), clock.now()

    pieces, ended = clock.run(main(), virtual=True)
    assert pieces == ["Hi"]
    assert ended == pytest.approx(USAGE_TIMEOUT)


def test_leaving_early_ends_the_request() -> None:
    server = Server(streaming(*[delta(content="word ")] * 100, pause=0.1))

    async def main() -> float:
        async with server.chat() as chat:
            async with aclosing(chat.reply(ASKED)) as reply:
                assert await anext(reply) == "word "
            left = clock.now()
            await asyncio.sleep(2.0)
            return left

    assert clock.run(main(), virtual=True) == pytest.approx(0.1)
    assert server.gone_at[0] < 0.5


@pytest.mark.parametrize("after", [0.05, 0.35])
def test_a_cancelled_reply_ends_at_once_and_so_does_its_request(after: float) -> None:
    server = Server(streaming(*[delta(content="word ")] * 100, pause=0.1))

    async def main() -> float:
        async with server.chat() as chat:
            reply = asyncio.create_task(heard(chat))
            await asyncio.sleep(after)
            reply.cancel()
            await asyncio.wait([reply])
            assert reply.cancelled()
            cancelled = clock.now()
            await asyncio.sleep(2.0)
            return cancelled

    assert clock.run(main(), virtual=True) == pytest.approx(after)
    assert server.gone_at[0] < after + 0.3


def test_two_requests_may_race() -> None:
    server = Server(streaming(delta("stop", content="Hi"), pause=1.0))

    async def main() -> tuple[list[list[Piece]], float]:
        async with server.chat() as chat:
            return await asyncio.gather(heard(chat), heard(chat)), clock.now()

    replies, ended = clock.run(main(), virtual=True)
    assert replies == [["Hi"], ["Hi"]]
    assert ended == pytest.approx(1.0)


# ── refusals ─────────────────────────────────────────────────────────────────

REFUSALS = [
    (
        "400 Bad Request",
        {"message": "temperature?"},
        "a setting is refused",
        "`llm.temperature`",
        False,
    ),
    (
        "400 Bad Request",
        {"message": "Unsupported parameter: 'max_tokens' is not supported with this model."},
        "a setting is refused",
        "`llm.max_tokens_name`",
        False,
    ),
    ("401 Unauthorized", {"message": "No."}, "the key is refused", "OPENAI_API_KEY", False),
    ("402 Payment Required", {"message": "No."}, "no credit left", "Top it up", False),
    ("403 Forbidden", {"message": "No."}, "the key may not", "OPENAI_API_KEY", False),
    (
        "404 Not Found",
        {"message": "It is gone.", "code": "model_not_found"},
        "the model gpt-4o-mini does not exist (any more)",
        "`llm.model`",
        False,
    ),
    (
        "404 Not Found",
        {"message": 'model "gpt-4o-mini" not found, try pulling it first'},
        "the model gpt-4o-mini does not exist (any more)",
        "`llm.model`",
        False,
    ),
    ("404 Not Found", {"message": "?"}, "no such service", "`llm.base_url`", False),
    (
        "429 Too Many Requests",
        {"message": "You exceeded your quota.", "code": "insufficient_quota"},
        "no credit left",
        "waiting does not help",
        False,
    ),
    (
        "429 Too Many Requests",
        {"message": "Slow down.", "code": "rate_limit_exceeded"},
        "too many requests",
        "later",
        True,
    ),
    ("418 Teapot", {"message": "No."}, "refuses the request", "", False),
    ("500 Oops", {"message": "No."}, "failed", "later", True),
    ("503 Service Unavailable", {"message": "No."}, "failed", "later", True),
]


@pytest.mark.parametrize(("status", "error", "cause", "hint", "temporary"), REFUSALS)
def test_a_refusal_says_what_it_means(
    status: str, error: dict[str, str], cause: str, hint: str, temporary: bool
) -> None:
    failure, pieces, raised = failure_of(refusing(status, {"error": error}))
    code = int(status[:3])
    assert cause in failure.cause
    assert failure.cause.endswith(f"(HTTP {code}: {error['message']}) (request id req-9)")
    assert hint in failure.hint
    assert (failure.status, failure.request_id) == (code, "req-9")
    assert failure.temporary == temporary
    assert isinstance(failure, RefusedError) == (code in (401, 403))
    assert (pieces, raised) == ([], 0.0)  # not tried again


@pytest.mark.parametrize(
    "body", [b"", b"<h1>Bad gateway</h1>", b"\xff", [1], {"error": "plain"}, {"detail": "other"}]
)
def test_a_refusal_of_any_shape_is_survived(body: object) -> None:
    failure, _, _ = failure_of(refusing("502 Bad Gateway", body))
    assert failure.status == 502
    assert failure.temporary


def test_the_key_is_in_no_error_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    message = f"Incorrect API key provided: {KEY[:7]}****{KEY[-4:]}. Also {KEY}."
    with caplog.at_level(logging.DEBUG):
        failure, _, _ = failure_of(refusing("401 Unauthorized", {"error": {"message": message}}))
    told = "".join(traceback.format_exception(failure)) + caplog.text + repr(failure)
    assert KEY not in told
    assert KEY[-4:] not in told
    assert KEY not in repr(ServiceAddress(url="", key=KEY, key_env=""))


def test_a_redirect_is_not_followed() -> None:
    failure, _, _ = failure_of(refusing("307 Moved", {}, Location="http://127.0.0.1:9/"))
    assert failure.status == 307
    assert "redirects the request" in failure.cause


# ── time-outs and breaks ─────────────────────────────────────────────────────


async def never(request: Request) -> None:
    await asyncio.sleep(60.0)


async def role_and_comments_only(request: Request) -> None:
    await request.write(HEAD)
    await request.event(delta(role="assistant", content=""))
    for _ in range(30):
        await asyncio.sleep(1.0)
        await request.write(b"4\r\n: a\n\r\n")


@pytest.mark.parametrize("answer", [never, role_and_comments_only])
def test_a_first_word_that_does_not_come_is_a_time_out(answer: Answer) -> None:
    failure, pieces, raised = failure_of(answer, first_token_timeout=4.0)
    assert isinstance(failure, StalledError)
    assert "LLM: no word within 4 s" in failure.cause
    assert failure.temporary
    assert (pieces, raised) == ([], pytest.approx(4.0))


def test_a_stream_that_stalls_is_a_time_out() -> None:
    async def answer(request: Request) -> None:
        await request.write(HEAD)
        await asyncio.sleep(1.0)
        await request.event(delta(content="Well"))
        await asyncio.sleep(60.0)

    failure, pieces, raised = failure_of(answer, token_timeout=2.5)
    assert "no further word within 2.5 s (request id req-1)" in failure.cause
    assert failure.temporary
    assert (pieces, raised) == (["Well"], pytest.approx(3.5))


def test_a_slow_listener_makes_no_stall() -> None:
    server = Server(streaming(delta(content="One "), delta("stop", content="two.")))

    async def main() -> list[Piece]:
        async with server.chat(token_timeout=1.0) as chat:
            return await heard(chat, pause=5.0)

    assert clock.run(main(), virtual=True) == ["One ", "two."]


async def cut(request: Request) -> None:
    await request.write(HEAD)
    await request.event(delta(content="Well"))
    request.hang_up()


def failing(error: object) -> Answer:
    return streaming(delta(content="Well"), {"error": error})


BREAKS = [
    (cut, "the connection to .* failed", True),
    (
        failing({"message": "The server\x1b[1m had an error.", "type": "server_error"}),
        "had an",
        True,
    ),
    (failing("plainly"), r"\(plainly\)", True),
    (failing({"message": "Pay.", "code": "insufficient_quota"}), "no credit left", False),
]


@pytest.mark.parametrize(("answer", "cause", "temporary"), BREAKS)
def test_a_stream_that_breaks_is_an_error_after_its_words(
    answer: Answer, cause: str, temporary: bool
) -> None:
    failure, pieces, _ = failure_of(answer)
    assert pieces == ["Well"]
    with pytest.raises(ServiceError, match=cause):
        raise failure
    assert failure.request_id == "req-1"
    assert failure.temporary == temporary
    assert "\x1b" not in str(failure)


def test_a_break_after_the_last_word_is_no_error() -> None:
    async def answer(request: Request) -> None:
        await request.write(HEAD)
        await request.event(delta("stop", content="Hi"))
        request.hang_up()

    assert reply_to(answer)[0] == ["Hi"]


def test_nobody_listening_is_said_with_the_address() -> None:
    async def main() -> None:
        async with open_chat(ChatSettings(), address("http://127.0.0.1:9/v1", key="")) as chat:
            await heard(chat)

    with pytest.raises(ServiceError, match=r"nothing listens at 127\.0\.0\.1:9") as caught:
        clock.run(main(), virtual=True)
    assert caught.value.temporary
