"""local: the embedded stack, from the end of a recorded voice to the reply.  Real time.

Five recorded sentences, each a conversation of its own, and one conversation of 40 questions that
the stack's own voice asks.  One worker process serves all, as it serves one `voicecli replay`.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import soundfile
import soxr

from tests.bench.size import choose_size
from tests.bench.table import Check, format_table, print_checks
from tests.support import ROOT
from voicecli import clock
from voicecli.audio.virtual import VirtualSpeaker
from voicecli.audio.wav import open_wav
from voicecli.metrics.stages import STAGES
from voicecli.metrics.summary import describe
from voicecli.metrics.turns import Turn, measure_turns
from voicecli.pipeline.wiring import Services, open_services, open_session
from voicecli.profile import Profile, load_profile
from voicecli.timeline import Timeline
from voicecli.units import Seconds

RECORDINGS = sorted(
    (ROOT / "tests" / "speech").glob(choose_size("librivox-*.wav", "librivox-0880.wav"))
)

REPEATS = choose_size(5, 1)
"""Of each recording, in turn: the LLM must not find the same words in its cache."""

TURNS = choose_size(40, 3)
SILENCE: Seconds = 1.5
"""After each question; then the recording waits for the reply."""

SHORT = "llm.max_tokens=20"
"""Replies are played in real time; what is measured ends with their first sound."""

QUESTIONS = (
    "What is the capital of Australia?",
    "How do I make a good cup of coffee?",
    "Tell me something interesting about whales.",
    "I am feeling tired today. What should I do?",
    "What is the difference between weather and climate?",
    "How far is it from London to Paris?",
    "Can you recommend a book for a long train journey?",
    "Why is the sky blue?",
    "Who wrote Romeo and Juliet?",
    "What should I cook with rice and tomatoes?",
    "How many days are there in a leap year?",
    "Is it safe to eat raw eggs?",
    "What does a lawyer do all day?",
    "My computer is very slow. Can you help?",
    "What is a good present for a ten year old girl?",
    "Explain in simple words what a black hole is.",
    "Should I take an umbrella with me today?",
    "What is the largest city in Brazil?",
    "How do I remove a coffee stain from a shirt?",
    "How long does it take to boil an egg?",
)


async def replay(file: Path, profile: Profile, services: Services) -> list[Turn]:
    """Hold a conversation with a recorded user."""
    timeline = Timeline()
    speaker = VirtualSpeaker(profile.tts.sample_rate, profile.audio.prebuffer)
    with open_wav(file, profile.audio.sample_rate, profile.audio.block) as source:
        async with open_session(
            profile, services, source, speaker, timeline=timeline, recorded=True
        ) as session:
            await session.run()
    return measure_turns(timeline)


async def replay_recordings(profile: Profile, repeats: int = REPEATS) -> dict[str, list[Turn]]:
    """Replay each recording ``repeats`` times; return the turns by recording."""
    turns = defaultdict(list)
    async with open_services(profile, {}) as services:
        for _ in range(repeats):
            for file in RECORDINGS:
                turns[file.stem] += await replay(file, profile, services)
    return turns


async def converse(profile: Profile, count: int = TURNS) -> list[Turn]:
    """Ask ``count`` questions in one conversation."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "questions.wav"
        _record_questions(file, count, profile.audio.sample_rate)
        async with open_services(profile, {}) as services:
            return await replay(file, profile, services)


def _record_questions(file: Path, count: int, rate: int) -> None:
    import hibari

    voice = hibari.Hibari(threads=1)
    pieces = []
    for index in range(count):
        spoken = np.concatenate(list(voice.stream(QUESTIONS[index % len(QUESTIONS)])))
        pieces += [soxr.resample(spoken, voice.sample_rate, rate), np.zeros(round(SILENCE * rate))]
    soundfile.write(file, np.concatenate(pieces), rate, subtype="PCM_16")


def run() -> dict[str, Any]:
    """Measure and print; return the numbers for bench.json."""
    profile = load_profile("local", overrides=[SHORT])
    recorded = clock.run(replay_recordings(profile))
    asked = clock.run(converse(profile))
    rows = [_row(name, turns) for name, turns in recorded.items()]
    rows.append(_row("all", [turn for turns in recorded.values() for turn in turns]))
    print(f"local, with {SHORT}: mouth-to-ear of the recorded sentences, {REPEATS} times each.")
    print(format_table(HEAD, rows))
    stretches = {"first ten": asked[:10], "last ten": asked[-10:], "all": asked}
    rows += (questions := [_row(name, turns) for name, turns in stretches.items()])
    print(f"   {TURNS} questions in one conversation:")
    print(format_table(HEAD, questions))
    return {
        "rows": [dict(zip(HEAD, row, strict=True)) for row in rows],
        "checks": print_checks(_check(recorded, asked)),
    }


HEAD = ("ms", "turns", "failed", "P50", "P95", "max", *STAGES)


def _row(name: str, turns: Sequence[Turn]) -> list[object]:
    """P95 also of few turns: it is then near the longest."""
    waits = list_waits(turns)
    stages = (describe(turn.stages.get(stage, 0.0) for turn in turns).p50 for stage in STAGES)
    times = np.percentile(waits, [50, 95, 100]) if waits else [None] * 3
    shown = [None if took is None else float(1000 * took) for took in (*times, *stages)]
    return [name, len(turns), len(turns) - len(waits), *shown]


def list_waits(turns: Sequence[Turn]) -> list[Seconds]:
    """List mouth-to-ear of the turns that were answered."""
    return [turn.mouth_to_ear for turn in turns if turn.mouth_to_ear is not None]


def _check(recorded: dict[str, list[Turn]], asked: Sequence[Turn]) -> list[Check]:
    sentences = [turn for turns in recorded.values() for turn in turns]
    typical = 1000 * float(np.median(list_waits(sentences)))
    slow = 1000 * float(np.percentile(list_waits(asked), 95))
    answered = len(list_waits(asked))
    return [
        (f"recorded sentences: P50 {typical:.0f} ms <= 450", typical <= 450),
        (f"{answered} of {len(asked)} turns answered", answered == len(asked) >= TURNS),
        (f"{len(asked)} turns: P95 {slow:.0f} ms <= 900", slow <= 900),
    ]


if __name__ == "__main__":  # python -m tests.bench.local turn.detect=endpointing …
    changed = clock.run(replay_recordings(load_profile("local", overrides=sys.argv[1:]), 1))
    print(format_table(HEAD, [_row(name, turns) for name, turns in changed.items()]))
    for name, turns in changed.items():
        print(name, [turn.user_text for turn in turns])
