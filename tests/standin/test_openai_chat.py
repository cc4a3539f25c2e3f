"""The stand-in of ``/v1/chat/completions``: what is on the wire, byte by byte, and when."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import h11
import pytest
from websockets.asyncio.client import connect

from voicecli import clock
from voicecli.errors import UsageError
from voicecli.standin import Engines, Fault, serve
from voicecli.standin.engines.scripted import create_scripted_engines
from voicecli.standin.script import Latency, LlmScript, Script

MESSAGES = [{"role": "user", "content": "Hello?"}]
STREAM = {"model": "gpt-4o-mini", "messages": MESSAGES, "stream": True}
SAYS = LlmScript(says=("Hello there, you.", "And again."))


class Client:
    """One keep-alive connection, read as it comes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.http = h11.Connection(h11.CLIENT)

    async def send(self, method: str, path: str, body: bytes, key: str | None = None) -> None:
        headers = [("Host", "localhost"), ("Content-Length", str(len(body)))]
        headers += [("Authorization", f"Bearer {key}")] if key else []
        request = h11.Request(method=method, target=path, headers=headers)
        for event in (request, h11.Data(data=body), h11.EndOfMessage()):
            self.writer.write(self.http.send(event) or b"")
        await self.writer.drain()

    async def events(self) -> AsyncGenerator[tuple[float, Any], None]:
        while True:
            event = self.http.next_event()
            if event is h11.NEED_DATA:
                self.http.receive_data(await self.reader.read(65536))
                continue
            yield clock.now(), event
            if isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                return


@dataclass
class Answer:
    """A whole answer: pieces of the body with their times since the request."""

    status: int
    headers: dict[str, str]
    pieces: list[tuple[float, bytes]]
    took: float

    @property
    def json(self) -> Any:
        return json.loads(b"".join(piece for _, piece in self.pieces))

    @property
    def events(self) -> list[tuple[float, str]]:
        """The data of each server-sent event."""
        found = []
        for at, piece in self.pieces:
            for event in piece.decode().split("\n\n")[:-1]:
                assert event.startswith("data: ")
                found.append((at, event.removeprefix("data: ")))
        return found

    @property
    def chunks(self) -> list[tuple[float, Any]]:
        *chunks, (_, done) = self.events
        assert done == "[DONE]"
        return [(at, json.loads(chunk)) for at, chunk in chunks]


@asynccontextmanager
async def connected(openai: str) -> AsyncGenerator[Client, None]:
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(openai).port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def ask(client: Client, method: str, path: str, body: bytes, key: str | None) -> Answer:
    began = clock.now()
    await client.send(method, path, body, key)
    answer = Answer(0, {}, [], 0.0)
    async for at, event in client.events():
        if isinstance(event, h11.Response):
            answer.status = event.status_code
            answer.headers = {name.decode(): value.decode() for name, value in event.headers}
        elif isinstance(event, h11.Data):
            answer.pieces.append((at - began, bytes(event.data)))
        answer.took = at - began
    if client.http.our_state is client.http.their_state is h11.DONE:
        client.http.start_next_cycle()
    return answer


def chat(
    *bodies: Any,
    path: str = "/v1/chat/completions",
    method: str = "POST",
    llm: LlmScript = SAYS,
    key: str | None = None,
    **serving: Any,
) -> list[Answer]:
    """The answers to requests sent one after the other over one connection."""

    async def main() -> list[Answer]:
        async with (
            serve(create_scripted_engines(Script(llm=llm)), **serving) as endpoints,
            connected(endpoints.openai) as client,
        ):
            payloads = [b if isinstance(b, bytes) else json.dumps(b).encode() for b in bodies]
            return [await ask(client, method, path, payload, key) for payload in payloads]

    return clock.run(main(), virtual=True)


def content(answer: Answer) -> list[tuple[float, str]]:
    deltas = [(at, c["choices"][0]["delta"]) for at, c in answer.chunks if c["choices"]]
    return [(at, delta["content"]) for at, delta in deltas if delta.get("content")]


# ── streams ──────────────────────────────────────────────────────────────────


def test_tokens_arrive_exactly_when_the_script_says() -> None:
    (answer,) = chat(STREAM)

    assert content(answer) == [
        (pytest.approx(0.200), "Hello"),
        (pytest.approx(0.215), " there,"),
        (pytest.approx(0.230), " you."),
    ]
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.headers["x-request-id"].startswith("req_")


def test_a_stream_begins_with_the_role_and_ends_with_the_reason() -> None:
    (answer,) = chat(STREAM)

    (at, first), *_, (_, last) = answer.chunks
    assert at == pytest.approx(0.0)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert first["object"] == "chat.completion.chunk"
    assert last["choices"][0]["delta"] == {}
    assert last["choices"][0]["finish_reason"] == "stop"
    assert all("usage" not in chunk for _, chunk in answer.chunks)


def test_the_body_ends_right_after_done() -> None:
    (answer,) = chat(STREAM)

    assert answer.took == pytest.approx(answer.events[-1][0])


def test_usage_comes_on_request_in_a_chunk_without_choices() -> None:
    (answer,) = chat(STREAM | {"stream_options": {"include_usage": True}})

    *others, (_, last) = answer.chunks
    assert last["choices"] == []
    assert (last["usage"]["prompt_tokens"], last["usage"]["completion_tokens"]) == (1, 3)
    assert all(chunk["usage"] is None for _, chunk in others)


def test_padding_can_be_turned_off() -> None:
    (padded, plain) = chat(STREAM, STREAM | {"stream_options": {"include_obfuscation": False}})

    assert all("obfuscation" in chunk for _, chunk in padded.chunks)
    assert not any("obfuscation" in chunk for _, chunk in plain.chunks)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_reply_is_cut_at_its_limit(name: str) -> None:
    (answer,) = chat(STREAM | {name: 2})

    assert "".join(token for _, token in content(answer)) == "Hello there,"
    assert answer.chunks[-1][1]["choices"][0]["finish_reason"] == "length"


def test_the_nth_user_message_gets_the_nth_reply_and_the_first_again() -> None:
    def turns(count: int) -> dict[str, Any]:
        return STREAM | {
            "messages": [{"role": "system", "content": "Be brief."}, *MESSAGES * count]
        }

    answers = chat(turns(1), turns(2), turns(3))

    replies = ["".join(token for _, token in content(answer)) for answer in answers]
    assert replies == ["Hello there, you.", "And again.", "Hello there, you."]


def test_a_connection_carries_one_request_after_the_other() -> None:
    answers = chat(STREAM, {**STREAM, "stream": False}, STREAM)

    assert [answer.status for answer in answers] == [200, 200, 200]


def test_a_request_that_comes_during_an_answer_is_answered_next() -> None:
    body = json.dumps(STREAM)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    request = f"{head}\r\n{body}"

    async def main() -> bytes:
        async with (
            serve(create_scripted_engines(Script(llm=SAYS))) as endpoints,
            connected(endpoints.openai) as client,
        ):
            for _ in range(2):
                client.writer.write(request.encode())
                await asyncio.sleep(0.1)
            client.writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return await client.reader.read()

    received = clock.run(main(), virtual=True)
    assert received.count(b"data: [DONE]") == 2
    assert b"Invalid URL" in received


def test_the_reply_stops_when_the_client_leaves() -> None:
    stopped: list[float] = []

    class Endless:
        async def reply(self, *_: Any, **__: Any) -> AsyncGenerator[str, None]:
            try:
                while True:
                    await asyncio.sleep(0.1)
                    yield " on"
            finally:
                stopped.append(clock.now())

    async def main() -> None:
        engines: Engines = replace(create_scripted_engines(Script()), llm=Endless())
        async with serve(engines) as endpoints:
            async with connected(endpoints.openai) as client:
                await client.send("POST", "/v1/chat/completions", json.dumps(STREAM).encode())
                await asyncio.sleep(1.05)
            await asyncio.sleep(1.0)
            assert stopped == [pytest.approx(1.05)]

    clock.run(main(), virtual=True)


# ── other answers ────────────────────────────────────────────────────────────


def test_a_request_that_is_not_streamed_is_answered_at_the_end() -> None:
    (answer,) = chat({**STREAM, "stream": False})

    assert answer.took == pytest.approx(0.230)
    choice = answer.json["choices"][0]
    assert choice["message"]["content"] == "Hello there, you."
    assert choice["finish_reason"] == "stop"
    assert answer.json["usage"]["total_tokens"] == 4


def test_models_are_listed_and_found() -> None:
    (listed,) = chat(b"", method="GET", path="/v1/models")
    (found,) = chat(b"", method="GET", path="/v1/models/gpt-4o-mini")
    (missing,) = chat(b"", method="GET", path="/v1/models/gpt-0")

    assert [model["id"] for model in listed.json["data"]] == ["gpt-4o-mini", "scripted"]
    assert found.json["object"] == "model"
    assert (missing.status, missing.json["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("body", "status", "param", "code"),
    [
        (b"{", 400, None, None),
        ({"messages": MESSAGES}, 400, None, None),
        ({"model": "gpt-4o-mini"}, 400, "messages", "missing_required_parameter"),
        (STREAM | {"messages": []}, 400, "messages", "invalid_value"),
        (STREAM | {"messages": [{"role": "me"}]}, 400, "messages[0].role", "invalid_value"),
        (STREAM | {"messages": [{"role": "user"}]}, 400, "messages[0].content", "invalid_value"),
        (STREAM | {"temperature": 3}, 400, "temperature", "invalid_value"),
        (STREAM | {"max_tokens": 0}, 400, "max_tokens", "invalid_value"),
        (
            STREAM | {"max_tokens": 9, "max_completion_tokens": 9},
            400,
            "max_tokens",
            "invalid_parameter_combination",
        ),
        (
            STREAM | {"model": "gpt-6-luna", "max_tokens": 9},
            400,
            "max_tokens",
            "unsupported_parameter",
        ),
        (
            STREAM | {"stream": False, "stream_options": {}, "model": "x"},
            404,
            "model",
            "model_not_found",
        ),
        (STREAM | {"stream": False, "stream_options": {"a": 1}}, 400, "stream_options", None),
    ],
)
def test_a_bad_request_is_refused(
    body: Any, status: int, param: str | None, code: str | None
) -> None:
    (answer,) = chat(body)

    error = answer.json["error"]
    assert answer.status == status
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["param"], error["code"]) == (param, code)
    assert error["type"] == "invalid_request_error"
    assert answer.headers["x-request-id"]


def test_a_key_is_required_only_on_request() -> None:
    (open_to_all,) = chat(STREAM)
    (without,) = chat(STREAM, require_key=True)
    (with_key,) = chat(STREAM, require_key=True, key="abc")

    assert [answer.status for answer in (open_to_all, without, with_key)] == [200, 401, 200]
    assert without.json["error"]["code"] == "invalid_api_key"


def test_an_unknown_address_is_not_found() -> None:
    (answer,) = chat(b"", path="/v1/embeddings")

    assert answer.status == 404
    assert answer.json["error"]["message"] == "Invalid URL (POST /v1/embeddings)"


def test_what_is_no_http_is_hung_up_on() -> None:
    async def main() -> bytes:
        async with (
            serve(create_scripted_engines(Script())) as endpoints,
            connected(endpoints.openai) as client,
        ):
            client.writer.write(b"\x16\x03\x01 TLS, perhaps\r\n\r\n")
            return await client.reader.read()

    assert clock.run(main(), virtual=True) == b""


def test_a_port_that_is_taken_is_a_usage_error() -> None:
    async def main() -> None:
        async with serve(create_scripted_engines(Script())) as endpoints:
            taken = urlsplit(endpoints.openai).port
            assert taken
            with pytest.raises(UsageError, match="address already in use"):
                async with serve(create_scripted_engines(Script()), openai_port=taken):
                    pass

    clock.run(main(), virtual=True)


def test_leaving_closes_whatever_is_under_way() -> None:
    async def main() -> tuple[float, int | None, int | None]:
        llm = LlmScript(token=Latency(10.0), says=("Slow and never done.",))
        async with AsyncExitStack() as clients:
            async with serve(create_scripted_engines(Script(llm=llm))) as endpoints:
                query = "model=nova-3&encoding=linear16&sample_rate=16000"
                listen = await clients.enter_async_context(
                    connect(f"{endpoints.deepgram}/v1/listen?{query}")
                )
                speak = await clients.enter_async_context(connect(f"{endpoints.deepgram}/v1/speak"))
                client = await clients.enter_async_context(connected(endpoints.openai))
                await listen.send(bytes(640))
                await speak.send('{"type":"Speak","text":"A sentence that takes its time."}')
                await speak.send('{"type":"Flush"}')
                await client.send("POST", "/v1/chat/completions", json.dumps(STREAM).encode())
                await asyncio.sleep(0.25)
            left = clock.now()
            await listen.wait_closed()
            await speak.wait_closed()
            while await client.reader.read(65536):
                pass
        return left, listen.close_code, speak.close_code

    assert clock.run(main(), virtual=True) == (pytest.approx(0.25), 1001, 1001)


def test_an_error_inside_passes_through() -> None:
    async def main() -> None:
        async with (
            serve(create_scripted_engines(Script())) as endpoints,
            connected(endpoints.openai) as client,
        ):
            await client.send("POST", "/v1/chat/completions", json.dumps(STREAM).encode())
            await asyncio.sleep(0.1)
            raise KeyError("of the caller")

    with pytest.raises(KeyError, match="of the caller"):
        clock.run(main(), virtual=True)


# ── faults ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, "invalid_api_key"), (422, None), (429, "rate_limit_exceeded"), (500, None)],
)
def test_a_request_can_be_refused_and_the_next_one_not(status: int, code: str | None) -> None:
    fault = Fault("llm", "refuse", status=status, on=1)

    refused, answered = chat(STREAM, STREAM, faults=(fault,))

    assert (refused.status, refused.json["error"]["code"]) == (status, code)
    assert answered.status == 200


def test_a_stream_can_stall() -> None:
    (answer,) = chat(STREAM, faults=(Fault("llm", "stall", after=0.21, lasts=3.0),))

    assert [at for at, _ in content(answer)] == [
        pytest.approx(0.2),
        pytest.approx(3.21),
        pytest.approx(3.21),
    ]


def test_a_stream_can_be_cut() -> None:
    async def main() -> float:
        fault = Fault("llm", "drop", after=0.21)
        async with (
            serve(create_scripted_engines(Script(llm=SAYS)), faults=(fault,)) as endpoints,
            connected(endpoints.openai) as client,
        ):
            await client.send("POST", "/v1/chat/completions", json.dumps(STREAM).encode())
            with suppress(ConnectionError):
                while await client.reader.read(65536):
                    pass
            return clock.now()

    assert clock.run(main(), virtual=True) == pytest.approx(0.21)


def test_a_stream_can_fall_silent_for_good() -> None:
    async def main() -> bytes:
        fault = Fault("llm", "half_open", after=0.21)
        received = b""
        async with (
            serve(create_scripted_engines(Script(llm=SAYS)), faults=(fault,)) as endpoints,
            connected(endpoints.openai) as client,
        ):
            await client.send("POST", "/v1/chat/completions", json.dumps(STREAM).encode())
            with suppress(TimeoutError):
                async with asyncio.timeout(600):
                    while True:
                        received += await client.reader.read(65536)
            assert clock.now() == pytest.approx(600, abs=1)
        return received

    received = clock.run(main(), virtual=True)
    assert b"Hello" in received
    assert b" there," not in received


def test_a_chunk_can_leave_torn() -> None:
    (answer,) = chat(STREAM, faults=(Fault("llm", "malformed", after=0.21),))

    torn = [data for _, data in answer.events if not data.endswith(("}", "]"))]
    assert len(torn) == 1


def test_latencies_may_have_a_tail() -> None:
    llm = LlmScript(ttft=Latency(0.2, 0.4, stall_share=0.5, stall=(2.0, 8.0)))
    waits = [content(answer)[0][0] for answer in chat(*[STREAM] * 20, llm=llm)]

    stalled = [wait for wait in waits if wait > 2.0]
    assert 5 <= len(stalled) <= 15
    assert len(set(waits)) == 20
    assert [content(answer)[0][0] for answer in chat(*[STREAM] * 20, llm=llm)] == waits
