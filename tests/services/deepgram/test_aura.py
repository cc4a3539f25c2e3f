"""What Aura-2 is sent and when, and that every flush asked for has its FLUSHED."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from voicecli import clock
from voicecli.clock import RateLimit
from voicecli.errors import ServiceError
from voicecli.services.deepgram.aura import (
    CAPABILITIES,
    MAX_AGE,
    Aura,
    AuraSettings,
    build_query,
    open_aura,
)
from voicecli.services.deepgram.synthesis import LONGEST_TEXT, REFUSED_PAUSE, Synthesis
from voicecli.services.interfaces import FLUSHED, Flushed
from voicecli.services.provider import ServiceAddress

EXCESSIVE = {
    "type": "Warning",
    "warn_code": "EXCESSIVE_FLUSH",
    "warn_msg": "Rate limit exceeded for flushes. Please try again later.",
}


class AuraServer:
    """A server with the manners of Aura-2: a Flush speaks the text so far, two bytes a character.

    delay: seconds from a Flush to its audio.
    faults: for the n-th Flush, the frames sent instead of the audio; the text stays.
    """

    def __init__(self, *, delay: float = 0.1, faults: dict[int, list[str | bytes]] | None = None):
        self.delay = delay
        self.faults = faults or {}
        self.received: list[tuple[float, str]] = []
        self.paths: list[str] = []
        self.connections: list[ServerConnection] = []
        self.flushes = 0

    async def __call__(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.paths.append(connection.request.path)
        self.connections.append(connection)
        text = ""
        try:
            await connection.send(json.dumps({"type": "Metadata", "request_id": "id"}))
            async for message in connection:
                frame = json.loads(message)
                note = frame.get("text", frame["type"])
                self.received.append((clock.now(), note))
                match frame["type"]:
                    case "Speak":
                        text += frame["text"]
                    case "Clear":
                        text = ""
                        await connection.send(b"stale!")
                        await connection.send('{"type":"Cleared","sequence_id":0}')
                    case "Close":
                        await connection.close()
                    case "Flush":
                        text = await self._flush(connection, text)
        except ConnectionClosed:
            pass

    async def _flush(self, connection: ServerConnection, text: str) -> str:
        self.flushes += 1
        if self.flushes in self.faults:
            for frame in self.faults[self.flushes]:
                await connection.send(frame)
            return text
        await asyncio.sleep(self.delay)
        await connection.send(audio_of(text))
        await connection.send(json.dumps({"type": "Flushed", "sequence_id": self.flushes - 1}))
        return ""

    @property
    def notes(self) -> list[str]:
        return [note for _, note in self.received]

    def times_of(self, note: str) -> list[float]:
        return [at for at, received in self.received if received == note]


def audio_of(text: str) -> bytes:
    return text.encode("utf-16-le")


def address(url: str) -> ServiceAddress:
    return ServiceAddress(url=url, key="", key_env="")


@asynccontextmanager
async def speaking(
    server: Any, *, max_age: float = MAX_AGE, **options: Any
) -> AsyncGenerator[Aura, None]:
    async with serve(server, "127.0.0.1", 0, ping_interval=None, close_timeout=0.1) as listening:
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        async with open_aura(AuraSettings(**options), address(url), max_age=max_age) as speak:
            yield speak


async def heard(speak: Aura, flushes: int) -> list[bytes | Flushed]:
    """What a reply of so many flushes sounds like; adjacent audio joined."""
    pieces: list[bytes | Flushed] = []
    async with aclosing(speak.audio()) as audio:
        while flushes:
            piece = await anext(audio)
            flushes -= piece is FLUSHED
            if isinstance(piece, bytes) and pieces and isinstance(pieces[-1], bytes):
                piece = pieces.pop() + piece  # type: ignore[operator]
            pieces.append(piece)
    return pieces


# ── the question ─────────────────────────────────────────────────────────────


def test_the_query_is_spelt_as_the_service_wants_it() -> None:
    assert build_query(AuraSettings(model="aura-2-luna-en", sample_rate=48_000, speed=1.1)) == [
        ("model", "aura-2-luna-en"),
        ("encoding", "linear16"),
        ("sample_rate", "48000"),
        ("speed", "1.1"),
        ("mip_opt_out", "false"),
    ]


# ── a reply ──────────────────────────────────────────────────────────────────


def test_a_reply_is_spoken_as_it_was_written() -> None:
    server = AuraServer()

    async def main() -> list[bytes | Flushed]:
        async with speaking(server) as speak:
            assert speak.opened.service == "tts"
            await speak.send("Hello, ", flush=False)
            await speak.send("", flush=False)
            await speak.send("there.", flush=True)
            return await heard(speak, 1)

    assert clock.run(main(), virtual=True) == [audio_of("Hello, there."), FLUSHED]
    assert server.notes == ["Hello, ", "there.", "Flush", "Close"]
    assert urlsplit(server.paths[0]).path == "/v1/speak"
    assert dict(parse_qsl(urlsplit(server.paths[0]).query))["model"] == "aura-2-thalia-en"


def test_the_first_flush_goes_out_before_anyone_listens() -> None:
    server = AuraServer(delay=0.3)

    async def main() -> float:
        async with speaking(server) as speak:
            await speak.send("Hello.", flush=True)
            await asyncio.sleep(0.3)
            await heard(speak, 1)
            return clock.now()

    assert clock.run(main(), virtual=True) == pytest.approx(0.3)


def test_flushes_asked_for_meanwhile_are_joined_and_each_is_answered() -> None:
    server = AuraServer()

    async def main() -> list[bytes | Flushed]:
        async with speaking(server) as speak:
            for text in ("One. ", "Two. ", "Three."):
                await speak.send(text, flush=True)
            return await heard(speak, 3)

    assert clock.run(main(), virtual=True) == [
        audio_of("One. "),
        FLUSHED,
        audio_of("Two. Three."),
        FLUSHED,
        FLUSHED,
    ]
    assert server.notes == ["One. ", "Flush", "Two. ", "Three.", "Flush", "Close"]


def test_a_listener_that_was_first_hears_all_the_same() -> None:
    async def main() -> list[bytes | Flushed]:
        async with speaking(AuraServer()) as speak, asyncio.TaskGroup() as tasks:
            listener = tasks.create_task(heard(speak, 2))
            await asyncio.sleep(100.0)  # nothing is due, so nothing stalls
            await speak.send("One. ", flush=True)
            await asyncio.sleep(100.0)
            await speak.send("Two.", flush=True)
            return await listener

    assert clock.run(main(), virtual=True) == [
        audio_of("One. "),
        FLUSHED,
        audio_of("Two."),
        FLUSHED,
    ]


def test_a_flush_of_nothing_new_is_answered_when_all_is_spoken() -> None:
    server = AuraServer()

    async def main() -> tuple[list[bytes | Flushed], list[bytes | Flushed]]:
        async with speaking(server) as speak:
            await speak.send("One.", flush=True)
            await speak.send("", flush=True)
            first = await heard(speak, 2)
            await speak.send(" \n", flush=True)
            return first, await heard(speak, 1)

    first, second = clock.run(main(), virtual=True)
    assert first == [audio_of("One."), FLUSHED, FLUSHED]
    assert second == [FLUSHED]
    assert server.notes == ["One.", "Flush", "Close"]


def test_white_space_waits_for_the_word_after_it() -> None:
    server = AuraServer()

    async def main() -> None:
        async with speaking(server) as speak:
            for text in ("One", " ", "two."):
                await speak.send(text, flush=False)
            await speak.send("", flush=True)
            await heard(speak, 1)

    clock.run(main(), virtual=True)
    assert server.notes == ["One", " two.", "Flush", "Close"]


def test_long_text_is_cut_at_spaces_and_nowhere_else() -> None:
    text = "word " * 900
    pieces = list(Synthesis(flushes=20, characters=10_000, window=60.0).pieces(text))
    assert "".join(pieces) == text
    assert [len(piece) for piece in pieces] == [2000, 2000, 500]
    unbroken = Synthesis(flushes=20, characters=10_000, window=60.0).pieces("x" * 2001)
    assert [len(piece) for piece in unbroken] == [LONGEST_TEXT, 1]


def test_an_odd_byte_waits_for_its_other_half() -> None:
    flushed = '{"type":"Flushed","sequence_id":0}'
    server = AuraServer(faults={1: [b"abc", b"d", b"", b"ef!", flushed], 2: [b"gh", flushed]})

    async def main() -> list[bytes | Flushed]:
        async with speaking(server) as speak:
            await speak.send("One.", flush=True)
            await speak.send("Two.", flush=True)
            return await heard(speak, 2)

    assert clock.run(main(), virtual=True) == [b"abcdef", FLUSHED, b"gh", FLUSHED]


# ── budgets ──────────────────────────────────────────────────────────────────


@given(
    limit=st.integers(1, 30),
    requests=st.lists(st.tuples(st.integers(1, 30), st.floats(0, 40)), max_size=60),
)
def test_a_budget_is_never_overspent_and_never_idle(
    limit: int, requests: list[tuple[int, float]]
) -> None:
    budget, now = RateLimit(limit, 60.0), 0.0
    spent: list[tuple[float, int]] = []
    for amount, pause in requests:
        amount = min(amount, limit)
        now = max(now + pause, budget.allowed_at(amount, now + pause))
        budget.spend(amount, now)
        spent.append((now, amount))
        assert budget.left(now) == limit - sum(units for at, units in spent if at + 60.0 > now) >= 0
    for amount in range(1, limit + 1):
        at = budget.allowed_at(amount, now)
        within = sum(units for when, units in spent if when + 60.0 >= at)
        assert at == now or within + amount > limit  # a moment earlier it was too much


def test_a_flush_beyond_the_budget_waits_and_is_joined_by_the_next() -> None:
    server = AuraServer()

    async def main() -> list[bytes | Flushed]:
        async with speaking(server, flushes_per_minute=2) as speak:
            for text in ("One.", "Two."):
                await speak.send(text, flush=True)
                await heard(speak, 1)
            await speak.send("Three. ", flush=True)
            await speak.send("Four.", flush=True)
            return await heard(speak, 2)

    assert clock.run(main(), virtual=True) == [audio_of("Three. Four."), FLUSHED, FLUSHED]
    assert server.times_of("Three. ") == [pytest.approx(0.2)]
    assert server.times_of("Flush") == pytest.approx([0.0, 0.1, CAPABILITIES.window])


def test_it_tells_how_many_flushes_are_left() -> None:
    server = AuraServer()

    async def main() -> list[int]:
        async with speaking(server, flushes_per_minute=2) as speak:
            left = [speak.flushes_left]
            for text in ("One.", "Two.", "Three."):  # the third waits
                await speak.send(text, flush=True)
                left.append(speak.flushes_left)
                await heard(speak, 1)
            await asyncio.sleep(CAPABILITIES.window)
            return [*left, speak.flushes_left]

    assert clock.run(main(), virtual=True) == [2, 1, 0, 0, 2]


def test_characters_beyond_the_budget_wait() -> None:
    server = AuraServer()

    async def main() -> None:
        async with speaking(server, characters_per_minute=10) as speak:
            await speak.send("12345678", flush=False)
            await speak.send("90", flush=False)
            await speak.send("abc def ghi jkl", flush=True)
            await heard(speak, 1)

    clock.run(main(), virtual=True)
    assert server.received[:4] == [
        (0.0, "12345678"),
        (0.0, "90"),
        (pytest.approx(CAPABILITIES.window), "abc def "),
        (pytest.approx(2 * CAPABILITIES.window), "ghi jkl"),
    ]


@pytest.mark.parametrize(
    "warning",
    [EXCESSIVE, {"type": "Warning", "code": "EXCESSIVE_FLUSH", "description": "Too many."}],
)
def test_a_refused_flush_is_tried_again_and_nothing_hangs(warning: dict[str, str]) -> None:
    server = AuraServer(faults={1: [json.dumps(warning)], 2: [json.dumps(warning)]})

    async def main() -> list[bytes | Flushed]:
        async with speaking(server, first_audio_timeout=1.0) as speak:
            await speak.send("One.", flush=True)
            return await heard(speak, 1)

    assert clock.run(main(), virtual=True) == [audio_of("One."), FLUSHED]
    assert server.times_of("Flush") == pytest.approx([0.0, REFUSED_PAUSE, 2 * REFUSED_PAUSE])


def test_what_was_refused_is_joined_by_what_follows() -> None:
    server = AuraServer(faults={1: [json.dumps(EXCESSIVE)]})

    async def main() -> list[bytes | Flushed]:
        async with speaking(server) as speak:
            await speak.send("One. ", flush=True)
            await speak.send("Two.", flush=True)
            return await heard(speak, 2)

    assert clock.run(main(), virtual=True) == [audio_of("One. Two."), FLUSHED, FLUSHED]


def test_what_was_refused_can_be_cleared() -> None:
    server = AuraServer(faults={1: [json.dumps(EXCESSIVE)]})

    async def main() -> list[bytes | Flushed]:
        async with speaking(server) as speak, asyncio.TaskGroup() as tasks:
            await speak.send("Old.", flush=True)
            listener = tasks.create_task(heard(speak, 1))
            await asyncio.sleep(1.0)
            await speak.clear()
            await speak.send("New.", flush=True)
            return await listener

    assert clock.run(main(), virtual=True) == [audio_of("New."), FLUSHED]
    assert server.times_of("Flush") == pytest.approx([0.0, REFUSED_PAUSE])


def test_another_warning_is_logged_and_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    warning = {"type": "Warning", "warn_code": "ODD", "warn_msg": "A\x1b[1m word."}
    server = AuraServer(faults={1: [json.dumps(warning), b"ab", '{"type":"Flushed"}']})

    async def main() -> list[bytes | Flushed]:
        async with speaking(server) as speak:
            await speak.send("One.", flush=True)
            return await heard(speak, 1)

    with caplog.at_level(logging.WARNING):
        assert clock.run(main(), virtual=True) == [b"ab", FLUSHED]
    assert caplog.messages == ["TTS: ODD: A word."]


# ── the second connection ────────────────────────────────────────────────────


async def say(speak: Aura, *texts: str) -> list[bytes | Flushed]:
    pieces = []
    for text in texts:
        await speak.send(text, flush=True)
        pieces += await heard(speak, 1)
    return pieces


def test_a_low_budget_makes_the_next_reply_use_a_second_connection() -> None:
    server = AuraServer()

    async def main() -> list[int]:
        async with speaking(server, flushes_per_minute=6) as speak:
            left = []
            for _ in range(4):
                await say(speak, "One.", "Two.")
                await speak.warm()
                left.append(speak.flushes_left)
            return left

    # After three replies the first is spent; neither is closed before the end.
    assert clock.run(main(), virtual=True) == [4, 2, 6, 4]
    assert len(server.connections) == 2
    assert server.notes.count("Close") == 2


def test_a_conversation_without_pauses_never_waits_for_the_limit() -> None:
    server = AuraServer()

    async def main() -> float:
        async with speaking(server, flushes_per_minute=6) as speak:
            for _ in range(30):
                await say(speak, "One.", "Two.")
                await speak.warm()
            return clock.now()

    assert clock.run(main(), virtual=True) == pytest.approx(30 * 2 * server.delay)
    assert len(server.connections) - server.notes.count("Close") == 0


def test_a_spent_connection_is_left_within_a_reply_but_no_other() -> None:
    server = AuraServer()

    async def main() -> list[float]:
        async with speaking(server, flushes_per_minute=3) as speak:
            await say(speak, "One.", "Two.")
            async with asyncio.TaskGroup() as tasks:
                await speak.send("Three.", flush=True)
                tasks.create_task(speak.warm())  # opens a spare; the connection is in use
                await heard(speak, 1)
            at = clock.now()
            assert await say(speak, "Four.", "Five.") == [
                *(audio_of("Four."), FLUSHED, audio_of("Five."), FLUSHED)
            ]
            return [at, clock.now()]

    began, ended = clock.run(main(), virtual=True)
    assert ended == pytest.approx(began + 2 * server.delay)
    assert len(server.connections) == 2


def test_a_second_connection_that_is_refused_is_reported_once_and_the_first_replaced() -> None:
    server = AuraServer()

    def refuse(connection: ServerConnection, _: Any) -> Any:
        busy = any(one.state is State.OPEN for one in server.connections)
        return connection.respond(429, "") if busy else None

    async def main() -> list[bytes | Flushed]:
        async with serve(
            server, "127.0.0.1", 0, ping_interval=None, process_request=refuse
        ) as listening:
            url = f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
            settings = AuraSettings(flushes_per_minute=3)
            async with open_aura(settings, address(url)) as speak:
                await say(speak, "One.", "Two.", "Three.")
                with pytest.raises(ServiceError, match="too many connections at once"):
                    await speak.warm()
                assert speak.flush_allowed_at(5) == pytest.approx(CAPABILITIES.window)
                said = await say(speak, "Four.")  # nothing was replaced ahead
                assert speak.flushes_left == 2
                await say(speak, "Five.", "Six.")
                await speak.warm()
                assert speak.flushes_left == 3
                await say(speak, "Seven.", "Eight.", "Nine.")
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(speak.warm())
                    await asyncio.sleep(0)
                    return said + await say(speak, "Ten.")  # while it is being replaced

    assert clock.run(main(), virtual=True) == [
        *(audio_of("Four."), FLUSHED, audio_of("Ten."), FLUSHED)
    ]
    assert server.times_of("Flush")[-1] < 1.0


def test_a_connection_that_cannot_be_replaced_is_tried_again_by_the_next_reply() -> None:
    server = AuraServer()
    refused = 0

    def refuse(connection: ServerConnection, _: Any) -> Any:
        nonlocal refused
        if not server.connections or refused == 3:
            return None
        refused += 1
        return connection.respond(429, "")

    async def main() -> list[bytes | Flushed]:
        async with serve(
            server, "127.0.0.1", 0, ping_interval=None, process_request=refuse
        ) as listening:
            url = f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
            async with open_aura(AuraSettings(flushes_per_minute=3), address(url)) as speak:
                await say(speak, "One.", "Two.", "Three.")
                with pytest.raises(ServiceError, match="too many connections at once"):
                    await speak.warm()
                await speak.warm()  # neither a second connection nor another first one
                return await say(speak, "Four.")

    assert clock.run(main(), virtual=True) == [audio_of("Four."), FLUSHED]
    assert refused == 3


def test_a_spare_takes_the_place_of_a_lost_connection_and_a_lost_spare_is_replaced() -> None:
    server = AuraServer()

    async def main() -> None:
        async with speaking(server, flushes_per_minute=3) as speak:
            await say(speak, "One.", "Two.", "Three.")
            await speak.warm()
            assert len(server.connections) == 2
            server.connections[1].transport.abort()  # the one in use; the other is the spare
            await asyncio.sleep(CAPABILITIES.window)
            assert await say(speak, "Four.") == [audio_of("Four."), FLUSHED]
            assert len(server.connections) == 2
            await say(speak, "Five.", "Six.")
            await speak.warm()
            server.connections[0].transport.abort()  # the spare
            await asyncio.sleep(0.1)
            await say(speak, "Seven.", "Eight.", "Nine.")
            await speak.warm()
            assert await say(speak, "Ten.") == [audio_of("Ten."), FLUSHED]

    clock.run(main(), virtual=True)
    assert len(server.connections) == 4


def test_a_spare_that_was_not_needed_for_a_minute_is_closed() -> None:
    server = AuraServer()

    async def main() -> int:
        async with speaking(server, flushes_per_minute=3) as speak:
            await say(speak, "One.", "Two.", "Three.")
            await speak.warm()
            await asyncio.sleep(CAPABILITIES.window)
            await speak.warm()
            return server.notes.count("Close")

    assert clock.run(main(), virtual=True) == 1


# ── barge-in ─────────────────────────────────────────────────────────────────


def test_after_a_clear_nothing_of_before_is_heard() -> None:
    server = AuraServer(faults={1: [b"old-1!", b"old-2"]})

    async def main() -> list[bytes | Flushed]:
        async with speaking(server) as speak:
            await speak.send("Old. ", flush=True)
            await speak.send("Also old. ", flush=True)
            async with aclosing(speak.audio()) as audio:
                assert await anext(audio) == b"old-1!"
            await speak.clear()
            await speak.send("New.", flush=True)
            return await heard(speak, 1)

    assert clock.run(main(), virtual=True) == [audio_of("New."), FLUSHED]
    assert server.notes == ["Old. ", "Flush", "Also old. ", "Clear", "New.", "Flush", "Close"]
    assert len(server.connections) == 1


def test_a_flushed_that_the_clear_overtook_answers_no_new_flush() -> None:
    server = AuraServer(faults={1: [b"old!", '{"type":"Flushed"}']})

    async def main() -> list[bytes | Flushed]:
        async with speaking(server) as speak:
            await speak.send("Old.", flush=True)
            await asyncio.sleep(1.0)  # all of it has arrived, nobody has listened
            await speak.clear()
            await speak.send("New.", flush=True)
            return await heard(speak, 1)

    # The server's fault leaves "Old." in its buffer; its Clear empties it.
    assert clock.run(main(), virtual=True) == [audio_of("New."), FLUSHED]


def test_a_clear_with_nothing_unfinished_is_not_sent() -> None:
    server = AuraServer()

    async def main() -> None:
        async with speaking(server) as speak:
            await speak.clear()
            await speak.send("One.", flush=True)
            await heard(speak, 1)
            await speak.clear()

    clock.run(main(), virtual=True)
    assert server.notes == ["One.", "Flush", "Close"]


def test_unflushed_text_is_cleared_too() -> None:
    server = AuraServer()

    async def main() -> list[bytes | Flushed]:
        async with speaking(server) as speak:
            await speak.send("Never said. ", flush=False)
            await speak.send(" ", flush=False)
            await speak.clear()
            await speak.send("New.", flush=True)
            return await heard(speak, 1)

    assert clock.run(main(), virtual=True) == [audio_of("New."), FLUSHED]


def test_clearing_while_someone_listens_wakes_nobody_wrongly() -> None:
    server = AuraServer(faults={1: []})

    async def main() -> list[bytes | Flushed]:
        async with speaking(server, first_audio_timeout=2.0) as speak, asyncio.TaskGroup() as tasks:
            await speak.send("Old.", flush=True)
            listener = tasks.create_task(heard(speak, 1))
            await asyncio.sleep(1.0)
            await speak.clear()
            await asyncio.sleep(10.0)
            await speak.send("New.", flush=True)
            return await listener

    assert clock.run(main(), virtual=True) == [audio_of("New."), FLUSHED]


def test_a_new_reply_has_its_own_time_out_even_for_a_listener_of_before() -> None:
    server = AuraServer(delay=1.5, faults={1: []})

    async def main() -> list[bytes | Flushed]:
        async with speaking(server, first_audio_timeout=2.0) as speak, asyncio.TaskGroup() as tasks:
            await speak.send("Old.", flush=True)
            listener = tasks.create_task(heard(speak, 1))
            await asyncio.sleep(1.0)
            await speak.clear()
            server.connections[0].transport.pause_reading()  # even Cleared comes late
            await speak.send("New.", flush=True)
            await asyncio.sleep(1.2)
            server.connections[0].transport.resume_reading()
            return await listener

    assert clock.run(main(), virtual=True) == [audio_of("New."), FLUSHED]


# ── faults ───────────────────────────────────────────────────────────────────


def test_a_stall_is_temporary_and_the_next_reply_has_a_new_connection() -> None:
    server = AuraServer(faults={1: [b"ab"]})

    async def main() -> list[bytes | Flushed]:
        async with speaking(server, first_audio_timeout=2.0) as speak:
            await speak.send("One.", flush=True)
            with pytest.raises(ServiceError, match="TTS: no audio for 2 s") as caught:
                await heard(speak, 1)
            assert caught.value.temporary
            assert clock.now() == pytest.approx(2.0)
            await speak.clear()
            await speak.send("Two.", flush=True)
            return await heard(speak, 1)

    assert clock.run(main(), virtual=True) == [audio_of("Two."), FLUSHED]
    assert len(server.connections) == 2
    assert server.notes == ["One.", "Flush", "Two.", "Flush", "Close"]


def test_a_connection_lost_while_idle_is_replaced() -> None:
    server = AuraServer()

    async def main() -> list[bytes | Flushed]:
        async with speaking(server) as speak, asyncio.TaskGroup() as tasks:
            first = speak.opened
            listener = tasks.create_task(heard(speak, 1))
            await asyncio.sleep(600.0)
            server.connections[0].transport.abort()
            await asyncio.sleep(1.0)
            await speak.send("One.", flush=True)
            assert speak.opened.at > first.at
            return await listener

    assert clock.run(main(), virtual=True) == [audio_of("One."), FLUSHED]


def test_a_connection_lost_in_mid_reply_is_an_error_and_then_replaced() -> None:
    server = AuraServer(delay=1.0)

    async def main() -> list[bytes | Flushed]:
        async with speaking(server) as speak:
            await speak.send("One.", flush=True)
            server.connections[0].transport.abort()
            with pytest.raises(ServiceError, match="the connection was lost"):
                await heard(speak, 1)
            await speak.clear()
            await speak.send("Two.", flush=True)
            return await heard(speak, 1)

    assert clock.run(main(), virtual=True) == [audio_of("Two."), FLUSHED]


def test_clearing_a_lost_connection_does_not_fail() -> None:
    async def main() -> None:
        server = AuraServer(delay=1.0)
        async with speaking(server) as speak:
            await speak.send("One.", flush=True)
            server.connections[0].transport.abort()
            await asyncio.sleep(0.1)
            await speak.clear()
            await speak.send("Two.", flush=True)
            assert await heard(speak, 1) == [audio_of("Two."), FLUSHED]

    clock.run(main(), virtual=True)


def test_an_old_connection_is_replaced_between_replies_only() -> None:
    server = AuraServer()

    async def main() -> None:
        async with speaking(server, max_age=100.0) as speak:
            await speak.send("One. ", flush=False)
            await asyncio.sleep(150.0)
            await speak.send("Still one.", flush=True)
            await heard(speak, 1)
            assert len(server.connections) == 1
            await speak.send("Two.", flush=True)
            await heard(speak, 1)

    clock.run(main(), virtual=True)
    assert len(server.connections) == 2
    assert server.notes == ["One. ", "Still one.", "Flush", "Close", "Two.", "Flush", "Close"]


def test_a_failed_reopening_is_tried_again_at_the_next_text() -> None:
    async def main() -> None:
        server = AuraServer()
        async with serve(server, "127.0.0.1", 0, ping_interval=None) as listening:
            port = listening.sockets[0].getsockname()[1]
            async with open_aura(AuraSettings(), address(f"ws://127.0.0.1:{port}")) as speak:
                listening.close()
                await listening.wait_closed()
                for _ in range(2):
                    with pytest.raises(ServiceError, match="nothing listens"):
                        await speak.send("One.", flush=True)
                async with serve(server, "127.0.0.1", port, ping_interval=None):
                    await speak.send("Two.", flush=True)
                    assert await heard(speak, 1) == [audio_of("Two."), FLUSHED]

    clock.run(main(), virtual=True)


@pytest.mark.parametrize(
    ("frame", "cause"),
    [
        ('{"type":"Error","code":"NET-9","description":"broken"}', r"\(NET-9: broken\)"),
        ('{"type":"error","err_msg":"broken"}', r"\(broken\)"),
        ('{"type":"Error"}', "it does not say why"),
    ],
)
def test_a_frame_that_is_a_failure_is_one_sentence(frame: str, cause: str) -> None:
    async def main() -> None:
        async with speaking(AuraServer(faults={1: [frame]})) as speak:
            await speak.send("One.", flush=True)
            with pytest.raises(ServiceError, match=cause):
                await heard(speak, 1)

    clock.run(main(), virtual=True)


def test_leaving_waits_no_longer_than_a_second() -> None:
    async def hang(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await connection.wait_closed()

    async def main() -> float:
        async with speaking(hang):
            before = clock.now()
        return clock.now() - before

    assert clock.run(main(), virtual=True) <= 1.2  # the second is ours, the rest the server's


def test_a_reply_can_be_cancelled_at_once_while_its_text_waits() -> None:
    server = AuraServer()

    async def main() -> float:
        async with speaking(server, characters_per_minute=5) as speak:
            await speak.send("12345", flush=False)
            sender = asyncio.create_task(speak.send("67890", flush=True))
            await asyncio.sleep(1.0)
            sender.cancel()
            await asyncio.wait([sender])
            await speak.clear()
            return clock.now()

    assert clock.run(main(), virtual=True) == pytest.approx(1.0)
    assert server.notes == ["12345", "Clear", "Close"]
