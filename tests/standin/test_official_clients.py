"""Third-party truth: the services' own clients talk to the stand-ins and understand them.

In virtual time, so the clients' own time-outs and retries cost nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import openai
import pytest
from websockets.exceptions import ConnectionClosedError

from tests.support.speech_like import silence, voice
from voicecli import clock
from voicecli.standin import Endpoints, Fault, serve
from voicecli.standin.engines.scripted import create_scripted_engines
from voicecli.standin.script import LlmScript, Script, SttScript

# What deepgram-sdk 7.17 imports, the first time that it connects.
pytestmark = pytest.mark.filterwarnings(
    "ignore:websockets.exceptions.InvalidStatusCode is deprecated:DeprecationWarning",
    "ignore:websockets.legacy is deprecated:DeprecationWarning",
)

T = TypeVar("T")
RATE = 16_000
SCRIPT = Script(
    stt=SttScript(hears=("What is the capital of Australia?", "Thank you.")),
    llm=LlmScript(says=("The capital is Canberra.",)),
)
MESSAGES: Any = [{"role": "user", "content": "What is the capital of Australia?"}]


def run(main: Coroutine[Any, Any, T]) -> T:
    return clock.run(main, virtual=True)


# ── deepgram-sdk ─────────────────────────────────────────────────────────────


def deepgram_client(endpoints: Endpoints) -> Any:
    from deepgram import AsyncDeepgramClient
    from deepgram.environment import DeepgramClientEnvironment

    environment = DeepgramClientEnvironment(
        base=endpoints.deepgram.replace("ws:", "http:"),
        production=endpoints.deepgram,
        agent=endpoints.deepgram,
        agent_rest=endpoints.deepgram.replace("ws:", "http:"),
    )
    return AsyncDeepgramClient(api_key="any-key", environment=environment)


def checked(message: Any) -> Any:
    """``message``, once its own type has validated it (the client does not)."""
    type(message).model_validate(json.loads(message.model_dump_json()))
    return message


def test_deepgrams_client_holds_a_whole_listen_exchange() -> None:
    async def main() -> list[Any]:
        async with serve(create_scripted_engines(SCRIPT), require_key=True) as endpoints:
            client = deepgram_client(endpoints)
            async with client.listen.v1.connect(
                model="nova-3",
                encoding="linear16",
                sample_rate=RATE,
                interim_results="true",
                endpointing="300",
                utterance_end_ms="1000",
                vad_events="true",
                punctuate="true",
            ) as connection:
                talking = asyncio.ensure_future(talk(connection))
                messages = [checked(message) async for message in connection]
                await talking
                return messages

    async def talk(connection: Any) -> None:
        await pace(connection, silence(0.4) + voice(1.5) + silence(1.3))
        await connection.send_keep_alive()
        await pace(connection, voice(0.8))
        await connection.send_finalize()
        await pace(connection, silence(0.3))
        await connection.send_close_stream()

    async def pace(connection: Any, pcm: bytes) -> None:
        for start in range(0, len(pcm), 640):
            await asyncio.sleep(0.02)
            await connection.send_media(pcm[start : start + 640])

    messages = run(main())

    kinds = [type(message).__name__ for message in messages]
    assert kinds[-1] == "ListenV1Metadata"
    assert kinds.count("ListenV1SpeechStarted") == 2
    assert kinds.count("ListenV1UtteranceEnd") == 1
    results = [m for m in messages if type(m).__name__ == "ListenV1Results"]
    spoken = [m for m in results if m.channel.alternatives[0].transcript]
    assert [
        (m.channel.alternatives[0].transcript, m.is_final, m.speech_final, m.from_finalize)
        for m in spoken
    ] == [
        ("What is", False, False, False),
        ("What is the capital", False, False, False),
        ("What is the capital of Australia?", True, True, False),
        ("Thank you.", True, True, True),
    ]
    assert spoken[2].channel.alternatives[0].words[-1].end == pytest.approx(1.9)


def test_deepgrams_client_sees_a_refused_key() -> None:
    from deepgram.core.api_error import ApiError

    async def main() -> int | None:
        fault = Fault("stt", "refuse", status=401)
        async with serve(create_scripted_engines(SCRIPT), faults=(fault,)) as endpoints:
            client = deepgram_client(endpoints)
            with pytest.raises(ApiError) as caught:
                async with client.listen.v1.connect(
                    model="nova-3", encoding="linear16", sample_rate=RATE
                ):
                    pass
            return caught.value.status_code

    assert run(main()) == 401


async def play(connection: Any, pcm: bytes) -> None:
    """Send audio at the pace of a microphone, in the chunks that Deepgram advises for Flux."""
    for start in range(0, len(pcm), 2560):
        await asyncio.sleep(0.08)
        await connection.send_media(pcm[start : start + 2560])


def test_deepgrams_client_holds_a_whole_flux_exchange() -> None:
    """Three turns: found by the service, expected twice, and ended by the client."""
    hears = ("What is the capital", "of Australia?", "Thank you.", "Good-bye.")
    script = Script(stt=SttScript(hears=hears, gap=0.15, turn_end=0.5, words_per_second=10))

    async def main() -> list[Any]:
        async with (
            serve(create_scripted_engines(script), require_key=True) as endpoints,
            deepgram_client(endpoints).listen.v2.connect(
                model="flux-general-multi",
                encoding="linear16",
                sample_rate=RATE,
                eot_threshold="0.7",
                eager_eot_threshold="0.4",
                eot_timeout_ms="5000",
                keyterm=["Australia", "Canberra"],
                language_hint=["en", "de"],
                numerals=True,
                tag="test",
            ) as connection,
        ):
            talking = asyncio.ensure_future(talk(connection))
            messages = [checked(message) async for message in connection]
            await talking
            return messages

    async def talk(connection: Any) -> None:
        await play(connection, silence(0.4) + voice(1.2) + silence(0.7) + voice(0.8) + silence(1.2))
        await connection.send_configure(
            {"type": "Configure", "thresholds": {"eot_threshold": 0.9}, "keyterms": []}
        )
        await connection.send_configure({"type": "Configure", "thresholds": {"eot_threshold": 2}})
        await play(connection, voice(0.8))
        await connection.send_force_end_turn()
        await asyncio.sleep(0.1)
        await connection.send_force_end_turn()
        await play(connection, silence(0.4) + voice(0.4))
        await connection.send_close_stream()

    messages = run(main())

    assert [message.sequence_id for message in messages] == list(range(len(messages)))
    assert type(messages[0]).__name__ == "ListenV2Connected"
    others = [m for m in messages[1:] if type(m).__name__ != "ListenV2TurnInfo"]
    assert [(type(m).__name__, getattr(m, "code", None)) for m in others] == [
        ("ListenV2ConfigureSuccess", None),
        ("ListenV2ConfigureFailure", "INVALID_THRESHOLD"),
        ("ListenV2Warning", "FORCE_END_TURN_NO_ACTIVE_TURN"),
    ]
    assert others[0].thresholds.eot_threshold == 0.9
    assert others[0].thresholds.eager_eot_threshold == 0.4
    assert others[0].keyterms == []
    assert others[0].language_hints == ["en", "de"]
    assert others[0].numerals is True
    turns = [m for m in messages if type(m).__name__ == "ListenV2TurnInfo"]
    changes = [m for m in turns if m.event != "Update"]
    assert [(m.turn_index, m.event, m.trigger) for m in changes] == [
        (0, "StartOfTurn", None),
        (0, "EagerEndOfTurn", None),
        (0, "TurnResumed", None),
        (0, "EagerEndOfTurn", None),
        (0, "EndOfTurn", "model"),
        (1, "StartOfTurn", None),
        (1, "EndOfTurn", "manual"),
        (2, "StartOfTurn", None),
    ]
    first, whole = "What is the capital", "What is the capital of Australia?"
    assert [m.transcript for m in changes[1:5]] == [first, first, whole, whole]
    assert changes[6].transcript == "Thank you."
    assert all(m.transcript for m in changes)
    assert turns[-1].languages == ["en"]
    assert turns[-1].languages_hinted == ["en", "de"]
    end = next(m for m in turns if m.event == "EndOfTurn")
    assert end.words[-1].end == pytest.approx(0.4 + 1.2 + 0.7 + 0.8)
    assert end.end_of_turn_confidence == pytest.approx(0.7, abs=0.02)
    assert end.audio_window_end == pytest.approx(3.1 + 0.5, abs=0.02)


def test_deepgrams_client_sees_what_a_flux_deployment_does_not_take() -> None:
    async def main() -> list[Any]:
        fault = Fault("stt", "finalize_refused")
        messages: list[Any] = []

        async def receive_all(connection: Any) -> None:
            while True:
                messages.append(checked(await connection.recv()))

        async with (
            serve(create_scripted_engines(SCRIPT), faults=(fault,)) as endpoints,
            deepgram_client(endpoints).listen.v2.connect(
                model="flux-general-en", encoding="linear16", sample_rate=RATE
            ) as connection,
        ):
            await play(connection, voice(0.4))
            await connection.send_force_end_turn()
            with pytest.raises(ConnectionClosedError):
                await receive_all(connection)
            return messages

    last = run(main())[-1]

    assert type(last).__name__ == "ListenV2FatalError"
    assert last.code == "UNPARSABLE_CLIENT_MESSAGE"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"model": "flux"}, 400),
        ({"model": "flux-general-en", "language_hint": ["en"]}, 400),
        ({"model": "flux-general-en", "eot_threshold": "0.3"}, 400),
    ],
)
def test_deepgrams_client_sees_a_refused_flux_query(query: dict[str, Any], status: int) -> None:
    from deepgram.core.api_error import ApiError

    async def main() -> int | None:
        async with serve(create_scripted_engines(SCRIPT)) as endpoints:
            with pytest.raises(ApiError) as caught:
                async with deepgram_client(endpoints).listen.v2.connect(
                    encoding="linear16", sample_rate=RATE, **query
                ):
                    pass
            return caught.value.status_code

    assert run(main()) == status


def test_deepgrams_client_holds_a_whole_speak_exchange() -> None:
    from deepgram.speak.v1.types import SpeakV1Text

    async def main() -> list[Any]:
        async with serve(create_scripted_engines(SCRIPT), require_key=True) as endpoints:
            client = deepgram_client(endpoints)
            async with client.speak.v1.connect(
                model="aura-2-thalia-en", encoding="linear16", sample_rate="24000"
            ) as connection:
                await connection.send_text(SpeakV1Text(type="Speak", text="Hello there."))
                await connection.send_flush()
                messages = [await connection.recv()]
                while getattr(messages[-1], "type", "") != "Flushed":
                    messages.append(await connection.recv())
                await connection.send_clear()
                messages.append(await connection.recv())
                await connection.send_close()
                return messages + [message async for message in connection]

    messages = run(main())

    audio = b"".join(message for message in messages if isinstance(message, bytes))
    others = [checked(message) for message in messages if not isinstance(message, bytes)]
    assert [message.type for message in others] == ["Metadata", "Flushed", "Cleared"]
    assert len(audio) == 2 * 24_000 * 0.06 * len("Hello there.")


def test_deepgrams_client_is_spoken_to_by_flux_and_interrupts_it() -> None:
    from deepgram.speak.v2.types import (
        SpeakV2Configure,
        SpeakV2Interrupt,
        SpeakV2InterruptPlaybackOffset,
        SpeakV2Speak,
    )

    async def main() -> list[Any]:
        async with serve(create_scripted_engines(SCRIPT), require_key=True) as endpoints:
            client = deepgram_client(endpoints)
            async with client.speak.v2.connect(
                model="flux-alexis-en", encoding="linear16", sample_rate="24000"
            ) as connection:
                messages: list[Any] = []

                async def receive_until(kind: str) -> None:
                    while not messages or getattr(messages[-1], "type", "") != kind:
                        messages.append(await connection.recv())

                async def say(text: str) -> None:
                    await connection.send_speak(SpeakV2Speak(type="Speak", text=text))

                await receive_until("Connected")
                for token in ("Hello", " there", "."):
                    await say(token)
                await connection.send_flush()
                await receive_until("SpeechMetadata")
                await say("One two three four, five six.")
                messages += [await connection.recv() for _ in range(6)]
                offset = SpeakV2InterruptPlaybackOffset(type="time_ms", value=720 + 200)
                await connection.send_interrupt(SpeakV2Interrupt(playback_offset=offset))
                await receive_until("SpeechInterrupted")
                await connection.send_interrupt()
                await receive_until("Warning")
                for speed in (1.1, 3.0):
                    await connection.send_configure(SpeakV2Configure(speed=speed))
                    await receive_until(f"Configure{'Success' if speed < 3 else 'Failure'}")
                await connection.send_close()
                return messages + [message async for message in connection]

    messages = run(main())

    audio = b"".join(message for message in messages if isinstance(message, bytes))
    others = {one.type: checked(one) for one in messages if not isinstance(one, bytes)}
    assert [*others] == [
        *("Connected", "Flushed", "SpeechStarted", "SpeechMetadata", "SpeechInterrupted"),
        *("Warning", "ConfigureSuccess", "ConfigureFailure", "SessionMetadata"),
    ]
    assert others["SpeechMetadata"].audio_duration_ms == 60 * len("Hello there.")
    assert others["SpeechInterrupted"].text_spoken == "One"
    assert others["SpeechInterrupted"].text_remaining == " two three four, five six."
    assert others["Warning"].code == "NO_ACTIVE_SPEECH"
    assert others["SessionMetadata"].total_audio_duration_ms == 720 + 200
    assert len(audio) > 2 * 24_000 * 0.72


# ── openai ───────────────────────────────────────────────────────────────────


@asynccontextmanager
async def openai_client(*faults: Fault) -> AsyncGenerator[openai.AsyncOpenAI, None]:
    async with serve(create_scripted_engines(SCRIPT), faults=faults, require_key=True) as endpoints:
        client = openai.AsyncOpenAI(base_url=endpoints.openai, api_key="any", max_retries=0)
        async with client:
            yield client


def test_openais_client_streams_a_completion() -> None:
    async def main() -> tuple[list[str], Any]:
        async with openai_client() as client:
            stream = await client.chat.completions.create(
                model="gpt-4o-mini",
                messages=MESSAGES,
                stream=True,
                stream_options={"include_usage": True},
            )
            async with stream:
                chunks = [chunk async for chunk in stream]
            tokens = [c.choices[0].delta.content or "" for c in chunks if c.choices]
            return tokens, chunks[-1].usage

    tokens, usage = run(main())

    assert tokens == ["", "The", " capital", " is", " Canberra.", ""]
    assert (usage.prompt_tokens, usage.completion_tokens) == (6, 4)


def test_openais_client_gets_a_whole_completion_and_the_models() -> None:
    async def main() -> tuple[Any, list[str], str]:
        async with openai_client() as client:
            whole = await client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
            models = [model.id async for model in client.models.list()]
            return whole, models, (await client.models.retrieve("gpt-4o-mini")).id

    whole, models, one = run(main())

    assert whole.choices[0].message.content == "The capital is Canberra."
    assert whole.choices[0].finish_reason == "stop"
    assert whole._request_id.startswith("req_")
    assert models == ["gpt-4o-mini", "scripted"]
    assert one == "gpt-4o-mini"


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (401, openai.AuthenticationError, "invalid_api_key"),
        (403, openai.PermissionDeniedError, "unsupported_country_region_territory"),
        (404, openai.NotFoundError, "model_not_found"),
        (422, openai.UnprocessableEntityError, None),
        (429, openai.RateLimitError, "rate_limit_exceeded"),
        (500, openai.InternalServerError, None),
    ],
)
def test_openais_client_sees_typed_errors(
    status: int, error: type[openai.APIStatusError], code: str | None
) -> None:
    async def main() -> openai.APIStatusError:
        async with openai_client(Fault("llm", "refuse", status=status)) as client:
            with pytest.raises(error) as caught:
                await client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
            return caught.value

    raised = run(main())

    assert raised.code == code
    assert raised.request_id is not None


def test_openais_client_sees_an_unknown_model_and_a_bad_parameter() -> None:
    async def main() -> tuple[str | None, str | None]:
        async with openai_client() as client:
            with pytest.raises(openai.NotFoundError) as unknown:
                await client.chat.completions.create(model="claude", messages=MESSAGES)
            with pytest.raises(openai.BadRequestError) as bad:
                await client.chat.completions.create(
                    model="gpt-4o-mini", messages=MESSAGES, temperature=7
                )
            return unknown.value.code, bad.value.param

    assert run(main()) == ("model_not_found", "temperature")


def test_openais_client_sees_a_cut_stream() -> None:
    async def main() -> list[str]:
        tokens: list[str] = []
        async with openai_client(Fault("llm", "drop", after=0.22)) as client:
            stream = await client.chat.completions.create(
                model="gpt-4o-mini", messages=MESSAGES, stream=True
            )

            async def read() -> None:
                async for chunk in stream:
                    tokens.append(chunk.choices[0].delta.content or "")

            with pytest.raises(openai.APIConnectionError):
                await read()
        return tokens

    assert run(main()) == ["", "The", " capital"]
