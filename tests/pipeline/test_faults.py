"""Every fault of every service, in a whole conversation.

Two questions, ten seconds apart; the fault occurs with the first one or before it.  Either the
conversation goes on and answers the following question, or it ends at once with one sentence and
its exit code; and no silence lasts longer than the deadline.  The test prints a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pytest

from tests.support.conversations import Conversation, converse, profile
from tests.support.speech_like import alternate_speech
from voicecli.cli.errors import print_error
from voicecli.events import EndSession, PlaybackStarted, Service
from voicecli.standin import Fault
from voicecli.standin.script import (
    FaultKind,
    Latency,
    LlmScript,
    Script,
    SttScript,
    TtsScript,
)
from voicecli.units import Seconds

DEADLINE: Seconds = 5.1
"""The longest silence after a question: 0.3 s until its text arrives, 0.6 until the hedge, 4 for
the hedge's first token, 0.12 for the apology."""

GAP: Seconds = 10.0
VOICE: Seconds = 1.2

SPEECH, ENDS = alternate_speech(0.5, VOICE, GAP, VOICE, 6.0)

QUESTIONS = ("What is the capital of Australia?", "How far is it from Sydney?")
SAYS = (
    "The capital is Canberra. It is a quiet town.",
    "About three hundred kilometres.",
)

LONG = "The capital is Canberra, and it is a quiet town between Sydney and Melbourne. " * 3
"""Takes 14 seconds to say, GAP and more."""


def fault(
    service: Service,
    kind: FaultKind,
    *,
    status: int = 503,
    after: Seconds = 0.0,
    lasts: Seconds = 8.0,
    on: int | Literal["every"] = 1,
) -> Fault:
    return Fault(service, kind, on=on, status=status, after=after, lasts=lasts)


@dataclass(frozen=True)
class Case:
    """A fault, and the expected outcome.

    ends: the exit code if the conversation must end; None if it must go on.
    absent: the service that cannot be reached at all.
    settings: of the profile.
    loses: whether words are lost; then the answered text need not be the question word by word.
    interrupts: whether the second question interrupts the first reply.
    """

    service: Service
    name: str
    faults: tuple[Fault, ...] = ()
    ends: int | None = None
    absent: Service | None = None
    settings: tuple[str, ...] = ()
    loses: bool = False
    interrupts: bool = False

    def __str__(self) -> str:
        return f"{self.service}: {self.name}"


def cases() -> list[Case]:
    listed = []
    for service in ("stt", "llm", "tts"):
        opens = service != "llm"  # its connection opens before anybody speaks
        listed.append(Case(service, "nothing listens", absent=service, ends=5 if opens else None))
        for status in (401, 429, 500):
            refuse = (fault(service, "refuse", status=status),)
            ends = 3 if status == 401 else None
            listed.append(Case(service, f"refused with {status}", refuse, ends=ends))
    first = ENDS[0]
    early = {"stt": 0.1, "llm": 0.0, "tts": 0.0}
    midst = {"stt": first - 0.4, "llm": 0.25, "tts": 0.3}
    for service in ("stt", "llm", "tts"):
        broken: list[tuple[str, FaultKind, Seconds]] = [
            ("dropped before", "drop", early[service]),
            ("dropped in mid-stream", "drop", midst[service]),
            ("stalled", "stall", early[service]),
            ("stalled in mid-stream", "stall", midst[service]),
            ("half open", "half_open", early[service]),
            ("half open in mid-stream", "half_open", midst[service]),
            ("malformed", "malformed", midst[service]),
        ]
        for name, kind, after in broken:
            one = (fault(service, kind, after=after),)
            listed.append(Case(service, name, one))
    for status, ends in ((401, 3), (429, None), (500, None)):
        again = (
            fault("stt", "drop", after=midst["stt"]),
            fault("stt", "refuse", status=status, on=2),
        )
        listed.append(Case("stt", f"dropped, then refused with {status}", again, ends=ends))
    for status, ends in ((401, 3), (429, None), (500, None)):
        again = (fault("tts", "drop", after=0.3), fault("tts", "refuse", status=status, on=2))
        listed.append(Case("tts", f"dropped, then refused with {status}", again, ends=ends))
    for on in (1, 2):
        lost = (fault("stt", "finalize_lost", on=on),)
        listed.append(Case("stt", f"Finalize {on} unanswered", lost, loses=True))
    alone: list[tuple[str, FaultKind]] = [
        ("stalled, no hedge", "stall"),
        ("half open, no hedge", "half_open"),
    ]
    for name, kind in alone:
        one = (fault("llm", kind),)
        listed.append(Case("llm", name, one, settings=("llm.hedge_ms=null",)))
    twice = (fault("llm", "half_open", on=1), fault("llm", "half_open", on=2))
    listed.append(Case("llm", "half open, its hedge as well", twice))
    return listed


CASES = cases()


def flux_stt_cases() -> list[Case]:
    """The faults of the STT, and those that only ``/v2/listen`` has."""
    listed = [case for case in cases() if case.service == "stt"]
    own: list[tuple[str, FaultKind, int | Literal["every"], bool]] = [
        ("no ForceEndTurn on this deployment", "finalize_refused", "every", True),
        ("no Configure on this deployment", "configure_unknown", "every", False),
        ("Configure unanswered", "configure_lost", "every", False),
        ("Configure refused", "configure_refused", "every", False),
        ("end of turn 1 not found", "turn_end_lost", 1, True),
        ("end of turn 2 not found", "turn_end_lost", 2, True),
    ]
    for name, kind, on, loses in own:
        listed.append(Case("stt", name, (fault("stt", kind, on=on),), loses=loses))
    refused = (fault("stt", "refuse", status=400),)
    listed.append(Case("stt", "refused with 400", refused, ends=5))
    # Two seconds after a message the connection is replaced, though pings are answered.
    silent = fault("stt", "stall", after=ENDS[0] - 0.4, lasts=30.0)
    listed.append(Case("stt", "silent for ever in a turn, pings answered", (silent,)))
    flux = ("stt.provider=deepgram-flux", "stt.eot_timeout_ms=2000")
    return [replace(case, settings=(*case.settings, *flux)) for case in listed]


def flux_cases() -> list[Case]:
    """The faults of the TTS, and those that only ``/v2/speak`` has."""
    listed = [case for case in CASES if case.service == "tts"]
    own: list[tuple[str, FaultKind, Seconds]] = [
        ("at its time limit before", "expired", ENDS[0] - 0.5),
        ("at its time limit in mid-stream", "expired", ENDS[0] + 1.5),
        ("Flushed after the end", "flushed_late", 0.0),
        ("a request that is retried", "warning", 0.0),
    ]
    listed += [Case("tts", name, (fault("tts", kind, after=after),)) for name, kind, after in own]
    interrupts: list[tuple[str, FaultKind]] = [
        ("Interrupt with a stale offset", "stale_offset"),
        ("Interrupt while another is processed", "interrupt_busy"),
        ("Interrupt unanswered", "interrupt_lost"),
        ("Interrupt answered without the words", "text_missing"),
    ]
    listed += [
        Case("tts", name, (fault("tts", kind),), interrupts=True) for name, kind in interrupts
    ]
    flux = ("tts.provider=deepgram-flux", "tts.model=flux-alexis-en")
    return [replace(case, settings=(*case.settings, *flux)) for case in listed]


TABLES = {
    "endpointing": ("endpointing", CASES),
    "vad": ("vad", CASES),
    "vad, Flux TTS": ("vad", flux_cases()),
    "vad, Flux STT": ("vad", flux_stt_cases()),
    "service, Flux STT": ("service", flux_stt_cases()),
}


def conversation(case: Case, *settings: str) -> Conversation:
    script = Script(
        stt=SttScript(hears=QUESTIONS, gap=0.3, interim=0.3, words_per_second=10.0),
        llm=LlmScript(ttft=Latency(0.2), says=SAYS),
    )
    if case.interrupts:  # the service still speaks when it is interrupted
        says = (LONG, *SAYS[1:])
        script = replace(script, llm=replace(script.llm, says=says), tts=TtsScript(speed=1.1))
        settings = (*settings, "interrupt.policy=headphones")
    return converse(
        profile("limits.idle_s=60", *case.settings, *settings),
        script,
        SPEECH,
        faults=case.faults,
        absent=case.absent,
        recorded=False,
    )


def silences(talk: Conversation) -> list[Seconds]:
    """From each question to the next sound of the agent, or to the end of the conversation."""
    over = talk.timeline[-1].at if len(talk.timeline) else 0.0
    sounds = [entry.at for entry in talk.all(PlaybackStarted)] + [over]
    origin = talk.began
    return [
        min((at for at in sounds if at >= origin + end), default=over) - origin - end
        for end in ENDS
        if origin + end < over
    ]


def line(case: Case, talk: Conversation, message: str, code: int) -> str:
    after = " ".join(f"{took:5.2f}" for took in silences(talk))
    became = f"ends with {code}: {message}" if code else "goes on"
    return f"{case!s:<40} {after:<20} {became}"


@pytest.mark.parametrize("table", TABLES)
def test_a_fault_is_survived_or_reported(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines, wrong = [], []
    detect, listed = TABLES[table]
    for case in listed:
        talk = conversation(case, f"turn.detect={detect}")
        code = print_error(talk.error) if talk.error is not None else 0
        message = capsys.readouterr().err.strip()
        lines.append(line(case, talk, message, code))
        wrong += [f"{case}: {why}" for why in mistakes(case, talk, message, code)]
    with capsys.disabled():
        print(f"\n{table}: seconds of silence after each question\n" + "\n".join(lines))
    assert wrong == []


def mistakes(case: Case, talk: Conversation, message: str, code: int) -> Sequence[str]:
    """List what is not as expected."""
    found = []
    if code != (case.ends or 0):
        found.append(f"exit code {code}, not {case.ends or 0}: {message}")
    if code and (message.count("\n") or not message.startswith(f"error: {case.service.upper()}: ")):
        found.append(f"not one clear sentence: {message!r}")
    waits = silences(talk)
    if any(wait > DEADLINE for wait in waits):
        found.append(f"silent for {max(waits):.1f} s")
    if not code:
        if talk.one(EndSession).reason not in ("input ended", "idle"):
            found.append(f"ended: {talk.one(EndSession).reason}")
        answered = [turn.user_text for turn in talk.turns if turn.outcome == "answered"]
        # A new connection starts the script from its beginning: opened after the first question was
        # answered, it takes the second one for the first.
        last = answered[-1] if answered else ""
        if case.interrupts and talk.turns[0].outcome != "interrupted":
            found.append("the first reply was not interrupted")
        missing = last not in QUESTIONS and not any(last.endswith(q) for q in QUESTIONS[1:])
        if case.absent is None and ((missing and not case.loses) or not last or len(waits) < 2):
            found.append(f"the following question was not answered: {answered}")
    return found
