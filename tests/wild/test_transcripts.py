"""Transcripts that repeat, overlap or come late: every word once, in order, one turn, one reply.

The stand-in's finals are rewritten on their way.  Sources: xAI restates the whole utterance
(pipecat #5671), Mistral the whole session (pipecat #4485), ElevenLabs sends every final twice
(LiveKit agents #4609); "Yes." said twice must stay (justspeaktoit #762).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.conversations import Conversation, Rewrite, converse, profile
from tests.support.speech_like import alternate_speech
from tests.wild import Case
from voicecli.standin import Fault
from voicecli.standin.script import Latency, LlmScript, Script, SttScript
from voicecli.units import Seconds

KIND = "transcripts that repeat"

SPEECH, ENDS = alternate_speech(0.5, 1.8, 5.0, 1.8, 3.5)
FIRST = "What is the capital of Australia?"
SECOND = "How far is it from Sydney?"

Frame = dict[str, Any]
Sent = Iterable[tuple[Seconds, Frame]]


@dataclass(frozen=True)
class RepeatCase(Case):
    """What becomes of the transcripts.

    rewrite: yields the frames for each final with words; interim: those for an interim.
    hears: what the user says.
    """

    rewrite: Callable[[list[Frame]], Sent] = lambda finals: [(0.0, finals[-1])]
    interim: Callable[[Frame, list[Frame]], Sent] = lambda frame, _: [(0.0, frame)]
    hears: tuple[str, str] = (FIRST, SECOND)
    faults: tuple[Fault, ...] = ()


def piece(frame: Frame, first: int, end: int, **changes: Any) -> Frame:
    """Some words of a final, as a segment of their own."""
    words = frame["channel"]["alternatives"][0]["words"][first:end]
    text = " ".join(word["punctuated_word"] for word in words)
    start, until = words[0]["start"], words[-1]["end"]
    alternative = {"transcript": text, "words": words, "confidence": 0.9}
    return frame | {
        "channel": {"alternatives": [alternative]},
        "start": start,
        "duration": until - start,
        **changes,
    }


def join(one: Frame, other: Frame) -> Frame:
    """A final that covers both."""
    alternatives = [frame["channel"]["alternatives"][0] for frame in (one, other)]
    text = " ".join(alternative["transcript"] for alternative in alternatives)
    words = [word for alternative in alternatives for word in alternative["words"]]
    start = one["start"]
    return other | {
        "channel": {"alternatives": [{"transcript": text, "words": words, "confidence": 0.9}]},
        "start": start,
        "duration": other["start"] + other["duration"] - start,
    }


def shorn(frame: Frame) -> Frame:
    """The same without times of words."""
    alternative = frame["channel"]["alternatives"][0] | {"words": []}
    return frame | {"channel": {"alternatives": [alternative]}}


OPEN = {"is_final": True, "speech_final": False, "from_finalize": False}


def twice(finals: list[Frame]) -> Sent:
    return [(0.0, finals[-1]), (0.0, finals[-1])]


def twice_later(delay: Seconds) -> Callable[[list[Frame]], Sent]:
    return lambda finals: [(0.0, finals[-1]), (delay, finals[-1])]


def revised(finals: list[Frame]) -> Sent:
    """First without punctuation."""
    alternative = finals[-1]["channel"]["alternatives"][0]
    plain = alternative | {"transcript": alternative["transcript"].lower().rstrip("?.")}
    first = finals[-1] | {"channel": {"alternatives": [plain]}, **OPEN}
    return [(0.0, first), (0.0, finals[-1])]


def cumulative(finals: list[Frame]) -> Sent:
    return [
        (0.0, piece(finals[-1], 0, 2, **OPEN)),
        (0.0, piece(finals[-1], 0, 4, **OPEN)),
        (0.0, finals[-1]),
    ]


def cumulative_without_words(finals: list[Frame]) -> Sent:
    return [(delay, shorn(frame)) for delay, frame in cumulative(finals)]


def segments_then_all(finals: list[Frame]) -> Sent:
    return [
        (0.0, piece(finals[-1], 0, 3, **OPEN)),
        (0.0, piece(finals[-1], 3, 99, **OPEN)),
        (0.0, finals[-1]),
    ]


def windows(finals: list[Frame]) -> Sent:
    return [(0.0, piece(finals[-1], 0, 4, **OPEN)), (0.0, piece(finals[-1], 2, 99))]


def halves(finals: list[Frame]) -> Sent:
    return [(0.0, piece(finals[-1], 0, 3, **OPEN)), (0.0, piece(finals[-1], 3, 99))]


def swapped(finals: list[Frame]) -> Sent:
    return [(0.0, piece(finals[-1], 3, 99, **OPEN)), (0.0, piece(finals[-1], 0, 3))]


def first_half_late(finals: list[Frame]) -> Sent:
    return [(0.0, piece(finals[-1], 3, 99)), (0.15, piece(finals[-1], 0, 3, **OPEN))]


def whole_session(finals: list[Frame]) -> Sent:
    whole = finals[0]
    for final in finals[1:]:
        whole = join(whole, final)
    return [(0.0, whole)]


def interim_after(finals: list[Frame]) -> Sent:
    return [
        (0.0, finals[-1]),
        (0.05, finals[-1] | {"is_final": False, "speech_final": False, "from_finalize": False}),
    ]


def ends_early(finals: list[Frame]) -> Sent:
    """The last word of the first final ends 0.6 s too early."""
    if len(finals) > 1:
        return [(0.0, finals[-1])]
    alternative = finals[0]["channel"]["alternatives"][0]
    words = [word | {"end": word["end"] - 0.6} for word in alternative["words"]]
    changed = {"channel": {"alternatives": [alternative | {"words": words}]}}
    return [(0.0, finals[0] | changed)]


def first_lost(finals: list[Frame]) -> Sent:
    """The first final is lost with its connection; the next connection repeats it."""
    return [(0.0, finals[-1])] if len(finals) > 1 else []


def joined_interim(frame: Frame, finals: list[Frame]) -> Sent:
    return [(0.0, join(finals[-1], frame) if finals else frame)]


ONCE = "each word once, one reply"
KEPT = "each word as often as it was said"
TRULY = ("No no no, really no.", "It is very very far.")


CASES: list[Case] = [
    RepeatCase(KIND, "each final twice", "doubled within the turn", ONCE, twice),
    RepeatCase(KIND, "each final twice, 0.2 s apart", "answered twice", ONCE, twice_later(0.2)),
    RepeatCase(KIND, "each final again during the reply", "answered twice", ONCE, twice_later(1.5)),
    RepeatCase(KIND, "each final again after the reply", "answered twice", ONCE, twice_later(4.0)),
    RepeatCase(
        KIND, "each final first without punctuation", "doubled within the turn", ONCE, revised
    ),
    RepeatCase(
        KIND, "cumulative finals", '"What is What is the capital What is …"', ONCE, cumulative
    ),
    RepeatCase(
        KIND,
        "cumulative finals without word times",
        '"What is What is the capital What is …"',
        ONCE,
        cumulative_without_words,
    ),
    RepeatCase(
        KIND, "segments, then all of it (xAI)", "doubled within the turn", ONCE, segments_then_all
    ),
    RepeatCase(
        KIND,
        "finals of the whole session (Mistral)",
        "the first question once more in the second turn",
        ONCE,
        whole_session,
    ),
    RepeatCase(
        KIND,
        "interims of the whole session, too",
        "the first question once more in the second turn",
        ONCE,
        whole_session,
        joined_interim,
    ),
    RepeatCase(
        KIND, "overlapping windows", '"What is the capital the capital of …"', ONCE, windows
    ),
    RepeatCase(
        KIND, "two finals in the wrong order", '"capital of Australia? What is the"', ONCE, swapped
    ),
    RepeatCase(
        KIND,
        "the first half 0.15 s late",
        '"capital of Australia? What is the"',
        ONCE,
        first_half_late,
    ),
    RepeatCase(KIND, "an interim after its final", "doubled within the turn", ONCE, interim_after),
    RepeatCase(
        KIND,
        "a final from audio that was sent again",
        ONCE,
        ONCE,
        first_lost,
        faults=(Fault("stt", "drop", after=2.62),),
    ),
    RepeatCase(
        KIND,
        "a last word that ends too early, then a reconnect",
        "answered twice",
        ONCE,
        ends_early,
        hears=(FIRST, FIRST),  # a new connection starts the script from its beginning
        faults=(Fault("stt", "drop", after=2.62),),
    ),
    RepeatCase(KIND, "words said twice", "kept", KEPT, hears=TRULY),
    RepeatCase(
        KIND, "words said twice, finals twice", "doubled within the turn", KEPT, twice, hears=TRULY
    ),
    RepeatCase(
        KIND,
        "words said twice, cumulative finals",
        '"No no No no no, really No no no, …"',
        KEPT,
        cumulative,
        hears=TRULY,
    ),
    RepeatCase(KIND, "words said twice, in two finals", "kept", KEPT, halves, hears=TRULY),
]


def rewriter(case: RepeatCase) -> Rewrite:
    finals: list[Frame] = []

    def rewrite(message: str | bytes) -> Iterator[tuple[Seconds, str | bytes]]:
        frame = json.loads(message)
        sent: Sent = [(0.0, frame)]
        if frame["type"] == "Results" and frame["channel"]["alternatives"][0]["words"]:
            if frame["is_final"]:
                finals.append(frame)
                sent = case.rewrite(finals)
            else:
                sent = case.interim(frame, finals)
        for delay, one in sent:
            yield delay, json.dumps(one)

    return rewrite


def hold(case: RepeatCase, detect: str) -> Conversation:
    script = Script(
        stt=SttScript(hears=case.hears, gap=0.3, interim=0.3, words_per_second=10.0),
        llm=LlmScript(ttft=Latency(0.2), says=("The capital is Canberra.", "Three hundred.")),
    )
    return converse(
        profile("limits.idle_s=60", f"turn.detect={detect}"),
        script,
        SPEECH,
        faults=case.faults,
        recorded=False,
        rewrites={"stt": rewriter(case)},
    )


def answered(talk: Conversation) -> list[str]:
    """What was answered, turn by turn; the user hears nothing of a turn that goes on."""
    return [turn.user_text for turn in talk.turns if turn.outcome != "discarded"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_word_counts_once(case: RepeatCase) -> None:
    talk = hold(case, "vad")
    assert talk.error is None
    assert answered(talk) == list(case.hears)
    assert [turn.outcome for turn in talk.turns] == ["answered", "answered"]


@pytest.mark.parametrize("case", [*CASES[:4], CASES[12]], ids=lambda case: case.name)
def test_every_word_counts_once_where_the_service_ends_the_turn(case: RepeatCase) -> None:
    talk = hold(case, "endpointing")
    assert talk.error is None
    assert answered(talk) == list(case.hears)
