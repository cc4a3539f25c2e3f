"""Profiles and recordings, read in this process."""

from __future__ import annotations

import io
from contextlib import aclosing, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import soundfile
import yaml
from hypothesis import strategies as st

from tests.support.speech_like import alternate_speech
from tests.wild.fuzz_target import KEYS, TEXTS, Target, limit_time, mutated, mutated_bytes, nested
from voicecli import clock
from voicecli.audio.channels import Channel
from voicecli.audio.pcm import samples_of
from voicecli.audio.wav import open_wav
from voicecli.errors import VoiceError
from voicecli.profile import Profile, load_profile, load_script, restore_profile
from voicecli.sanitize import sanitize_message

SHIPPED = Path(__file__).parents[2] / "profiles"

# ── profiles ─────────────────────────────────────────────────────────────────


def _read_shipped() -> list[str]:
    return [file.read_text(encoding="utf-8") for file in sorted(SHIPPED.rglob("*.yaml"))]


odd_yaml = st.sampled_from(
    [text.encode(errors="surrogatepass") for text in TEXTS]
) | st.sampled_from(
    [
        b"\n",
        b"  ",
        b": ",
        b"- ",
        b"? ",
        b"|",
        b">",
        b"&a ",
        b"*a",
        b"!!int ",
        b"%YAML 9.9",
        b"---\n",
    ]
    + [key.encode() for key in KEYS.values()]
)


@st.composite
def yaml_files(draw: st.DrawFn) -> bytes:
    """A shipped profile or script with something changed: its bytes, or its values."""
    text = draw(st.sampled_from(_read_shipped()))
    match draw(st.sampled_from(["bytes", "values", "values", "nested"])):
        case "bytes":
            return draw(mutated_bytes(text.encode(), odd_yaml))
        case "nested":
            return f"llm: {draw(nested())}".encode()
        case _:
            values: Any = yaml.safe_load(text)
            for _ in range(draw(st.integers(1, 3))):
                values = draw(mutated(values))
            return yaml.safe_dump(values, allow_unicode=True).encode(errors="surrogatepass")


def check_yaml(raw: bytes) -> None:
    """Load it as a profile and as a script: settings, or a clear error without a key."""
    with TemporaryDirectory(prefix="fuzz-") as name, limit_time():
        file = Path(name) / "p.yaml"
        file.write_bytes(raw)
        for load in (load_profile, load_script):
            try:
                loaded = load(str(file), cwd=Path(name))
            except VoiceError as error:
                shown = sanitize_message(str(error))
                assert not any(key in shown for key in KEYS.values()), shown
                assert shown.encode(errors="strict")
            else:
                if isinstance(loaded, Profile):
                    resolved = loaded.resolved()
                    assert restore_profile(resolved, "again").resolved() == resolved


# ── recordings ───────────────────────────────────────────────────────────────

FORMATS = (
    *(
        ("WAV", "PCM_16"),
        ("WAV", "FLOAT"),
        ("WAVEX", "PCM_24"),
        ("RF64", "PCM_16"),
        ("WAV", "ULAW"),
    ),
    *(
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
        ("AIFF", "PCM_16"),
        ("W64", "PCM_16"),
        ("CAF", "PCM_16"),
    ),
    *(("AU", "PCM_16"), ("WAV", "PCM_U8"), ("WAV", "IMA_ADPCM"), ("WAV", "DOUBLE")),
)


@cache
def encode_speech(format: str, subtype: str, rate: int, channels: int) -> bytes:
    """Half a second with voice in it, later in each channel."""
    pcm, _ = alternate_speech(0.1, 0.2, 0.2, rate=rate)
    samples = samples_of(pcm)
    file = io.BytesIO()
    if channels > 1:
        samples = np.stack([np.roll(samples, n * rate // 5) for n in range(channels)], axis=1)
    soundfile.write(file, samples, rate, format=format, subtype=subtype)
    return file.getvalue()


odd_words = st.sampled_from(
    [
        b"\0" * 4,
        b"\xff" * 4,
        b"\xff\xff\xff\x7f",
        b"\0\0\0\x80",
        b"\1\0\0\0",
        b"data",
        b"fmt ",
        b"LIST",
    ]
)


@st.composite
def recordings(draw: st.DrawFn) -> tuple[bytes, int, Channel]:
    """A recording that something happened to, the rate and the channel that are wanted."""
    format, subtype = draw(st.sampled_from(FORMATS))
    rate = draw(st.sampled_from([8000, 16_000, 44_100]))
    raw = encode_speech(format, subtype, rate, draw(st.sampled_from([1, 2, 2])))
    raw = draw(mutated_bytes(raw, odd_words | st.binary(max_size=8)))
    channels: list[Channel] = ["auto", "auto", "mix", 0, 1, 9]
    return raw, draw(st.sampled_from([8000, 16_000, 48_000])), draw(st.sampled_from(channels))


LONG = 100_000
"""Blocks of 20 ms: half an hour, which no header may claim of half a second of sound."""


def check_recording(example: tuple[bytes, int, Channel]) -> None:
    """Read it to its end: sound, or a clear error."""
    raw, rate, channel = example
    with TemporaryDirectory(prefix="fuzz-") as name, limit_time():
        file = Path(name) / "speech.wav"
        file.write_bytes(raw)
        with suppress(VoiceError), open_wav(file, rate, 0.02, channel) as source:
            clock.run(_read(source), virtual=True)


async def _read(source: Any) -> None:
    blocks = 0
    async with aclosing(source.blocks()) as recording:
        async for block in recording:
            blocks += 1
            assert blocks < LONG
            if block.last:
                return


TARGETS = (
    Target("YAML", yaml_files(), check_yaml, 25),
    Target("recordings", recordings(), check_recording, 60),
)
