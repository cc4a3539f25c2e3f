"""Times of the STT that make no sense: bounded by the audio that was sent, never waited for.

Sources: servers that count in milliseconds (whisper.cpp's server, Vosk), in samples, or from the
Unix epoch; that give no times (start and duration 0); NaN where a model found no alignment
(whisperX).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.conversations import Conversation, Rewrite, converse, profile
from tests.support.speech_like import alternate_speech
from tests.wild import Case
from voicecli.events import ConnectionOpened, EndSession, Warned
from voicecli.standin.script import Latency, LlmScript, Script, SttScript
from voicecli.units import Seconds

KIND = "times that make no sense"

SPEECH, ENDS = alternate_speech(0.5, 1.8, 5.0, 1.8, 4.0)
QUESTIONS = ("What is the capital of Australia?", "How far is it from Sydney?")
NO_TIMES = "ignored the times of a transcript: they are not in the audio sent"
NO_END = "ignored the time of an UtteranceEnd: it is not in the audio sent"

Frame = dict[str, Any]
Change = Callable[[float], Any]


@dataclass(frozen=True)
class TimeCase(Case):
    """change: what becomes of each time; where: of ``segment``, ``words``, both, or other frames.

    warnings: what the user is told.
    """

    change: Change = lambda time: time
    where: str = "both"
    warnings: tuple[str, ...] = (NO_TIMES,)


def spoil(frame: Frame, case: TimeCase) -> Frame:
    if frame["type"] == "UtteranceEnd" and case.where == "UtteranceEnd":
        return frame | {"last_word_end": case.change(frame["last_word_end"])}
    if frame["type"] == "SpeechStarted" and case.where == "SpeechStarted":
        return frame | {"timestamp": case.change(frame["timestamp"])}
    if frame["type"] != "Results":
        return frame
    if case.where in ("both", "segment"):
        frame = frame | {name: case.change(frame[name]) for name in ("start", "duration")}
    if case.where in ("both", "words"):
        alternative = frame["channel"]["alternatives"][0]
        words = [
            word | {name: case.change(word[name]) for name in ("start", "end")}
            for word in alternative["words"]
        ]
        frame = frame | {"channel": {"alternatives": [alternative | {"words": words}]}}
    return frame


HANGS = "never answers, and the session never ends"
NO_NUMBER = "ends with 5: a frame whose start is no number"
GOOD = "answers within 1.5 s"
LOST = "the connection is closed and opened again"

CASES: list[Case] = [
    TimeCase(KIND, "milliseconds", HANGS, GOOD, lambda time: time * 1000),
    TimeCase(KIND, "samples", HANGS, GOOD, lambda time: round(time * 16_000)),
    TimeCase(KIND, "since 1970", HANGS, GOOD, lambda time: time + 1.8e9),
    TimeCase(KIND, "1e300", HANGS, GOOD, lambda time: 1e300),
    TimeCase(
        KIND, "a number of 400 digits", "ends with 70: OverflowError", GOOD, lambda time: 10**400
    ),
    TimeCase(KIND, "infinite", NO_NUMBER, GOOD, lambda time: float("inf")),
    TimeCase(KIND, "NaN", NO_NUMBER, GOOD, lambda time: float("nan")),
    TimeCase(KIND, "negative", GOOD, GOOD, lambda time: -1 - time),
    TimeCase(KIND, "-1e300", GOOD, GOOD, lambda time: -1e300),
    TimeCase(KIND, "null", NO_NUMBER, GOOD, lambda time: None),
    TimeCase(KIND, "texts", NO_NUMBER, GOOD, lambda time: f"{time:.2f}"),
    TimeCase(KIND, "0: no times", GOOD, GOOD, lambda time: 0),
    TimeCase(
        KIND, "backwards", "both questions in one turn", GOOD, lambda time: 100 - time, "words"
    ),
    TimeCase(KIND, "words in milliseconds", HANGS, GOOD, lambda time: time * 1000, "words"),
    TimeCase(KIND, "words NaN", NO_NUMBER, GOOD, lambda time: float("nan"), "words"),
    TimeCase(KIND, "words all at 0", GOOD, GOOD, lambda time: 0, "words"),
    TimeCase(KIND, "segments in milliseconds", GOOD, GOOD, lambda time: time * 1000, "segment"),
    TimeCase(KIND, "0.4 s ahead", GOOD, GOOD, lambda time: time + 0.4, "segment", ()),
    TimeCase(
        KIND, "SpeechStarted infinite", GOOD, GOOD, lambda time: float("inf"), "SpeechStarted", ()
    ),
    TimeCase(
        KIND,
        "UtteranceEnd in milliseconds",
        GOOD,
        GOOD,
        lambda time: time * 1000,
        "UtteranceEnd",
        (NO_END,),
    ),
    TimeCase(
        KIND, "UtteranceEnd NaN", LOST, GOOD, lambda time: float("nan"), "UtteranceEnd", (NO_END,)
    ),
]


def spoiler(case: TimeCase) -> Rewrite:
    def rewrite(message: str | bytes) -> Iterator[tuple[Seconds, str | bytes]]:
        yield 0.0, json.dumps(spoil(json.loads(message), case))

    return rewrite


def hold(case: TimeCase) -> Conversation:
    script = Script(
        stt=SttScript(hears=QUESTIONS, gap=0.3, interim=0.3, words_per_second=10.0),
        llm=LlmScript(ttft=Latency(0.2), says=("The capital is Canberra.", "Three hundred.")),
    )
    return converse(profile("turn.detect=vad"), script, SPEECH, rewrites={"stt": spoiler(case)})


def outcome(talk: Conversation) -> str:
    if talk.error is not None:
        return f"ends with {talk.error!r}"
    if len(talk.all(ConnectionOpened)) > 2:
        return LOST
    answered = [turn for turn in talk.turns if turn.outcome == "answered"]
    if [turn.user_text for turn in answered] != [*QUESTIONS]:
        return " | ".join(turn.user_text for turn in answered)
    slowest = max(talk.mouth_to_ear())
    over = talk.one(EndSession).at
    if over > 60:
        return f"the session ends after {over:.0f} s"
    return GOOD if slowest < 1.5 else f"answers after {slowest:.1f} s"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_times_are_never_waited_for(case: TimeCase) -> None:
    talk = hold(case)
    assert outcome(talk) == case.after
    assert [one.text for one in talk.all(Warned)] == [*case.warnings]
