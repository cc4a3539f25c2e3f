"""From a profile to an open conversation: what each setting becomes, and where keys come from."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import soundfile

from tests.support.speech_like import alternate_speech
from voicecli import clock
from voicecli.audio.pcm import samples_of
from voicecli.audio.virtual import VirtualSpeaker
from voicecli.audio.wav import open_wav
from voicecli.errors import ProfileError, RefusedError, ServiceError
from voicecli.events import (
    ConnectionOpened,
    EndSession,
    FinalTranscript,
    ReplyFinished,
    Service,
)
from voicecli.pipeline.wiring import (
    Services,
    open_services,
    open_session,
)
from voicecli.profile import Profile, list_profiles, load_profile
from voicecli.standin import Endpoints
from voicecli.timeline import Timeline
from voicecli.units import AudioBlock

STANDIN = Endpoints(deepgram="ws://127.0.0.1:1", openai="http://127.0.0.1:2/v1")
KEYS = {"DEEPGRAM_API_KEY": "deepgram's", "OPENAI_API_KEY": "openai's"}
SERVICES: tuple[Service, ...] = ("stt", "llm", "tts")
DEEPGRAM = "https://api.deepgram.com"
URLS = {"DEEPGRAM_BASE_URL": "ws://here.example", "OPENAI_BASE_URL": "http://there.example/v1"}


@pytest.fixture(autouse=True)
def nothing_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def profile(*sets: str, name: str = "default") -> Profile:
    return load_profile(name, overrides=sets)


# ── keys and addresses ───────────────────────────────────────────────────────


def where(services: Services, service: Service) -> tuple[str, str]:
    """The URL and the key that a service is opened with."""
    address = services.find_address(service)
    return address.url, address.key


def test_services_are_where_they_are_and_keys_come_from_the_environment() -> None:
    services = Services(profile=profile(), environ=KEYS)
    assert where(services, "stt") == where(services, "tts") == (DEEPGRAM, "deepgram's")
    assert where(services, "llm") == ("https://api.openai.com/v1", "openai's")


def test_the_environment_may_name_other_addresses_and_the_profile_overrules_it() -> None:
    services = Services(profile=profile(), environ=KEYS | URLS)
    assert where(services, "stt")[0] == where(services, "tts")[0] == "ws://here.example"
    assert where(services, "llm")[0] == "http://there.example/v1"
    own = [f"{section}.base_url=ws://{section}.example" for section in ("stt", "tts")]
    mine = profile(*own, "llm.base_url=http://llm.example")
    services = Services(profile=mine, environ=KEYS | URLS)
    assert where(services, "stt")[0] == "ws://stt.example"
    assert where(services, "tts")[0] == "ws://tts.example"
    assert where(services, "llm")[0] == "http://llm.example"


def test_each_service_has_the_key_of_its_own_variable() -> None:
    environ = {"MY_STT": "1", "MY_TTS": "2", "MY_LLM": "3"}
    names = [f"{section}.key_env=MY_{section.upper()}" for section in ("stt", "tts", "llm")]
    services = Services(profile=profile(*names), environ=environ)
    addresses = [services.find_address(service) for service in SERVICES]
    assert [one.key for one in addresses] == ["1", "3", "2"]
    assert [one.key_env for one in addresses] == ["MY_STT", "MY_LLM", "MY_TTS"]
    missing = Services(profile=profile(), environ={})
    assert [missing.find_address(service).key for service in SERVICES] == ["", "", ""]


@pytest.mark.parametrize(("require", "key"), [("false", ""), ("true", "stand-in")])
def test_stand_ins_are_given_no_key_of_the_users(require: str, key: str) -> None:
    """And they win over addresses in the environment: a test must not cost money."""
    scripted = profile(f"standin.require_key={require}", name="scripted")
    services = Services(profile=scripted, standin=STANDIN, environ=KEYS | URLS)
    assert where(services, "stt") == where(services, "tts") == (STANDIN.deepgram, key)
    assert where(services, "llm") == (STANDIN.openai, key)


def test_one_service_may_be_real_beside_stand_ins() -> None:
    """It has an address of its own, and its real key."""
    mixed = profile("llm.base_url=http://llm.example/v1", name="scripted")
    services = Services(profile=mixed, standin=STANDIN, environ=KEYS)
    assert where(services, "llm") == ("http://llm.example/v1", "openai's")
    assert where(services, "stt") == (STANDIN.deepgram, "")


def test_keys_are_not_shown() -> None:
    services = Services(profile=profile(), environ=KEYS)
    for service in SERVICES:
        assert "'s" not in repr(services.find_address(service))
    assert "deepgram's" not in repr(services)


def test_a_handshake_is_that_of_the_profile() -> None:
    services = Services(profile=profile("stt.model=nova-2", "llm.model=gpt-5"), environ=KEYS)
    stt, llm, tts = map(services.describe_handshake, SERVICES)
    assert stt.path.startswith("/v1/listen?model=nova-2&")
    assert "sample_rate=48000" in stt.path
    assert stt.headers == tts.headers == {"Authorization": "Token deepgram's"}
    assert (stt.websocket, stt.goodbye) == (True, '{"type":"CloseStream"}')
    assert tts.path.startswith("/v1/speak?model=aura-2-thalia-en&")
    assert (llm.path, llm.websocket) == ("/models/gpt-5", False)
    assert llm.headers == {"Authorization": "Bearer openai's"}


# ── settings ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("setting", "name", "value"),
    [
        ("stt.model=nova-2", "model", "nova-2"),
        ("stt.language=de", "language", "de"),
        ("stt.endpointing_ms=25", "endpointing", 0.025),
        ("stt.endpointing_ms=false", "endpointing", None),
        ("stt.utterance_end_ms=1500", "utterance_end", 1.5),
        ("stt.utterance_end_ms=null", "utterance_end", None),
        ("stt.vad_events=false", "vad_events", False),
        ("stt.smart_format=false", "smart_format", False),
        ("stt.punctuate=false", "punctuate", False),
        ("stt.no_delay=false", "no_delay", False),
        ("stt.numerals=true", "numerals", True),
        ("stt.keyterms=[Kilkenny, Aura]", "keyterms", ("Kilkenny", "Aura")),
        ("stt.tag=mine", "tag", "mine"),
        ("stt.mip_opt_out=true", "mip_opt_out", True),
        ("stt.connect_timeout_ms=700", "connect_timeout", 0.7),
        (
            "stt.extra={redact: [pci, ssn], diarize: true, n: 2}",
            "extra",
            {"redact": ["pci", "ssn"], "diarize": True, "n": 2},
        ),
    ],
)
def test_what_the_stt_is_asked(setting: str, name: str, value: Any) -> None:
    assert getattr(profile(setting).stt, name) == value


@pytest.mark.parametrize(
    ("setting", "name", "value"),
    [
        ("tts.model=aura-2-orion-en", "model", "aura-2-orion-en"),
        ("tts.sample_rate=24000", "sample_rate", 24_000),
        ("tts.speed=1.1", "speed", 1.1),
        ("tts.mip_opt_out=true", "mip_opt_out", True),
        ("tts.flushes_per_minute=10", "flushes_per_minute", 10),
        ("tts.characters_per_minute=1000", "characters_per_minute", 1000),
        ("tts.first_audio_timeout_ms=900", "first_audio_timeout", 0.9),
        ("tts.connect_timeout_ms=800", "connect_timeout", 0.8),
    ],
)
def test_what_the_tts_is_asked(setting: str, name: str, value: Any) -> None:
    assert getattr(profile(setting).tts, name) == value


@pytest.mark.parametrize(
    ("setting", "name", "value"),
    [
        ("llm.model=gpt-5", "model", "gpt-5"),
        ("llm.max_tokens=33", "max_tokens", 33),
        ("llm.max_tokens_name=max_tokens", "max_tokens_name", "max_tokens"),
        ("llm.temperature=null", "temperature", None),
        ("llm.temperature=1", "temperature", 1),
        ("llm.connect_timeout_ms=600", "connect_timeout", 0.6),
        ("llm.first_token_timeout_ms=1200", "first_token_timeout", 1.2),
        ("llm.token_timeout_ms=1300", "token_timeout", 1.3),
        ("llm.extra={seed: 7}", "extra", {"seed": 7}),
    ],
)
def test_what_the_llm_is_asked(setting: str, name: str, value: Any) -> None:
    assert getattr(profile(setting).llm, name) == value


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("turn.detect=vad", "turn.detect", "vad"),
        ("turn.detect=endpointing", "turn.detect", "endpointing"),
        ("turn.each_final_is_a_turn=true", "turn.each_final_is_a_turn", True),
        ("turn.draft=off", "turn.draft", "off"),
        ("turn.draft=llm+tts", "turn.draft", "llm+tts"),
        ("turn.commit_ms.complete=111", "turn.commit.complete", 0.111),
        ("turn.commit_ms.default=222", "turn.commit.default", 0.222),
        ("turn.commit_ms.incomplete=333", "turn.commit.incomplete", 0.333),
        ("stt.finalize_timeout_ms=444", "stt.finalize_timeout", 0.444),
        ("turn.settle_ms=555", "turn.settle", 0.555),
        ("interrupt.policy=off", "interrupt.allowed", False),
        ("interrupt.policy=headphones", "interrupt.allowed", True),
        ("interrupt.hold_ms=66", "interrupt.hold", 0.066),
        ("interrupt.confirm_ms=777", "interrupt.confirm", 0.777),
        ("interrupt.min_words=3", "interrupt.min_words", 3),
        ("interrupt.backchannels=[mhm]", "interrupt.backchannels", ("mhm",)),
    ],
)
def test_how_turns_end(setting: str, path: str, value: Any) -> None:
    each_final = ["turn.detect=endpointing"] if "each_final" in setting else []
    found: Any = profile(*each_final, setting)
    for name in path.split("."):
        found = getattr(found, name)
    assert found == value


@pytest.mark.parametrize(
    ("setting", "name", "value"),
    [
        ("tts.chunking=batches", "chunking", "batches"),
        ("tts.batch_chars=99", "batch_chars", 99),
        ("tts.flush=end", "flush", "end"),
        ("tts.flush=clauses", "flush", "clauses"),
        ("tts.first_clause_stall_ms=210", "first_clause_stall", 0.21),
        ("tts.empty_ms=310", "empty", 0.31),
        ("tts.apology=Pardon?", "apology", "Pardon?"),
    ],
)
def test_how_replies_are_spoken(setting: str, name: str, value: Any) -> None:
    assert getattr(profile(setting).tts, name) == value


def test_when_a_second_request_is_sent() -> None:
    assert profile("llm.hedge_ms=900").llm.hedge == 0.9
    assert profile("llm.hedge_ms=null").llm.hedge is None
    assert profile().llm.hedge == "auto"


# ── conversations ────────────────────────────────────────────────────────────


def talk(
    settings: Profile, folder: Path, environ: Mapping[str, str] | None = None
) -> tuple[Timeline, list[AudioBlock]]:
    """A conversation with a user who says one thing, in virtual time."""
    pcm, _ = alternate_speech(0.5, 1.0, rate=settings.audio.sample_rate)
    path = folder / "in.wav"
    soundfile.write(path, samples_of(pcm), settings.audio.sample_rate)
    tapped: list[AudioBlock] = []
    timeline = Timeline()

    async def main() -> None:
        with open_wav(path, settings.audio.sample_rate, settings.audio.block) as source:
            async with (
                open_services(settings, environ or {}) as services,
                open_session(
                    settings,
                    services,
                    source,
                    VirtualSpeaker(settings.tts.sample_rate, settings.audio.prebuffer),
                    timeline=timeline,
                    recorded=True,
                ) as session,
            ):
                session.add_tap(tapped.append)
                await session.run()
                assert session.timeline is timeline

    clock.run(main(), virtual=True)
    return timeline, tapped


SCRIPTED = ("standin.engine=scripted", "standin.script=demo", "audio.vad=energy")


@pytest.mark.parametrize("name", [one.name for one in list_profiles()])
@pytest.mark.parametrize("require_key", ["true", "false"])
def test_every_profile_that_ships_holds_a_conversation(
    tmp_path: Path, name: str, require_key: str
) -> None:
    settings = profile(*SCRIPTED, f"standin.require_key={require_key}", name=name)
    timeline, tapped = talk(settings, tmp_path)
    opened = {one.service for one in timeline if isinstance(one, ConnectionOpened)}
    assert {"stt", "tts"} <= opened
    said = [one.text for one in timeline if isinstance(one, FinalTranscript) and one.text]
    assert said == ["What is the capital of Australia?"]
    replies = [one.said for one in timeline if isinstance(one, ReplyFinished)]
    assert len(replies) == 1
    assert replies[0].startswith("The capital of Australia is Canberra.")
    assert isinstance(timeline[-1], EndSession)
    assert timeline[-1].reason == "input ended"
    assert tapped[0].at == 0.0
    assert sum(block.last for block in tapped) == 1


def only(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def test_a_key_that_is_refused_ends_it_before_it_began(tmp_path: Path) -> None:
    """These stand-ins want one, and the user has set none."""
    path = tmp_path / "in.wav"
    soundfile.write(path, samples_of(alternate_speech(0.1, 0.1)[0]), 16_000)

    async def main() -> None:
        async with open_services(profile("standin.require_key=true", name="scripted")) as services:
            urls = [
                f"{section}.base_url={services.find_address('tts').url}"
                for section in ("stt", "tts")
            ]
            mine = profile("audio.sample_rate=16000", *urls)
            with open_wav(path, 16_000, 0.02) as source:
                keyless = Services(profile=mine, environ={"OPENAI_API_KEY": "x"})
                async with open_session(
                    mine, keyless, source, VirtualSpeaker(24_000, 0.06), timeline=Timeline()
                ):
                    pytest.fail("it opened")

    with pytest.raises(BaseExceptionGroup) as caught:
        clock.run(main())
    error = only(caught.value)
    assert isinstance(error, RefusedError)
    assert error.exit_code == 3
    assert "DEEPGRAM_API_KEY" in str(error)


def test_what_is_open_is_closed_when_the_rest_cannot_be_opened(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nowhere = f"ws://127.0.0.1:{closed.getsockname()[1]}"
    settings = profile(*SCRIPTED, f"tts.base_url={nowhere}", name="scripted")
    with pytest.raises(BaseExceptionGroup) as caught:  # a connection left open would warn
        talk(settings, tmp_path, {"DEEPGRAM_API_KEY": "x"})
    error = only(caught.value)
    assert isinstance(error, ServiceError)
    assert error.service == "tts"
    assert error.exit_code == 5


def test_a_script_that_is_wrong_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("llm: {says: 5}")
    settings = profile("standin.engine=scripted", "standin.script=mine.yaml", name="scripted")

    async def main() -> None:
        async with open_services(settings, {}):
            await asyncio.sleep(0)

    with pytest.raises(ProfileError, match=r"mine\.yaml:1: llm\.says"):
        clock.run(main(), virtual=True)
