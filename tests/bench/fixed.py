"""Conversations in real time over services with fixed latencies, in a process of their own."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.user import Sentence, User
from voicecli.audio.virtual import VirtualSpeaker
from voicecli.events import EndReason
from voicecli.metrics.turns import Turn, measure_turns
from voicecli.pipeline.wiring import Services, open_session
from voicecli.profile import Profile
from voicecli.standin import Endpoints
from voicecli.standin.engines.process import open_worker
from voicecli.timeline import Timeline
from voicecli.turns.draft import SPEECH_LEAD
from voicecli.units import Seconds

QUESTIONS = ("Yes, please.", "And tomorrow?", "Is it far?")
REPLY = "It is sunny today, and warm enough to sit outside until late in the evening."
"""Two clauses, so two flushes in seven seconds; Aura accepts 20 a minute."""

ENDPOINTING, FINAL, FINALIZE, HANGOVER = 0.2, 0.1, 0.05, 0.2
TTFT, TOKEN, TTFB = 0.2, 0.015, 0.12

FIRST_CLAUSE = 3
"""Tokens before the one with which "It is sunny today," is complete."""

SCRIPT = f"""
stt: {{final_ms: 100, finalize_ms: 50, gap_ms: 400, hears: {json.dumps(QUESTIONS)}}}
llm: {{ttft_ms: 200, token_ms: 15, says: ["{REPLY}"]}}
tts: {{ttfb_ms: 120}}
"""


def script_latency(profile: Profile, reason: EndReason = "complete") -> Seconds:
    """Return mouth-to-ear by the script and the chosen waits alone: the program adds the rest.

    reason: the rule that ended the turn.
    """
    clause = TTFT + FIRST_CLAUSE * TOKEN
    if profile.turn.detect == "endpointing":
        return ENDPOINTING + FINAL + clause + TTFB
    final, pause = HANGOVER + FINALIZE, profile.turn.pause
    drafted = final if pause is None else pause
    waits = profile.turn.commit
    commit: Seconds = getattr(waits, reason, waits.complete)
    return max(commit, max(drafted + clause, final, commit - SPEECH_LEAD) + TTFB)


@asynccontextmanager
async def open_standins() -> AsyncGenerator[Endpoints, None]:
    """Start the stand-ins in a process of their own, so that only the program is measured."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "exact.yaml"
        file.write_text(SCRIPT, encoding="utf-8")
        command = [sys.executable, "-m", "voicecli", "serve", "--engine", "scripted"]
        async with open_worker(
            [*command, "--script", str(file), "--attached", "--json"]
        ) as endpoints:
            yield endpoints


@dataclass
class Talk:
    """One conversation: its user and its timeline."""

    profile: Profile
    user: User
    timeline: Timeline = field(default_factory=Timeline)

    @property
    def turns(self) -> list[Turn]:
        return measure_turns(self.timeline)

    @property
    def added(self) -> list[Seconds]:
        """Return what the program added to each wait, by the user's own clock."""
        return self.added_since(0.0)

    def added_since(self, begun: Seconds) -> list[Seconds]:
        """Return the same for questions asked from ``begun`` on."""
        return [
            one.answered - one.end - script_latency(self.profile, one.answer.reason)
            for one in self.user.said
            if one.answered is not None
            and one.answer is not None
            and not one.talked_over
            and one.start >= begun
        ]


def create_talk(profile: Profile, count: int, seed: int = 0) -> Talk:
    """Prepare a conversation of ``count`` questions."""
    said = [Sentence((QUESTIONS[index % len(QUESTIONS)],)) for index in range(count)]
    audio = profile.audio
    user = User(said, audio.sample_rate, audio.block, seed=seed, gap=(0.5, 1.2))
    return Talk(profile, user)


async def hold_talk(talk: Talk, endpoints: Endpoints) -> None:
    """Run the conversation until the last question is answered."""
    profile = talk.profile
    talk.timeline.follow(talk.user.note)
    speaker = VirtualSpeaker(profile.tts.sample_rate, profile.audio.prebuffer)
    services = Services(profile=profile, standin=endpoints, environ={})
    async with open_session(
        profile, services, talk.user, speaker, timeline=talk.timeline, recorded=False
    ) as session:
        await session.run()
