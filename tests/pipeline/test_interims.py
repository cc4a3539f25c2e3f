"""Whole conversations in virtual time whose interims are late, wrong or written differently."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from itertools import cycle

import pytest
from typing_extensions import override

from tests.support.conversations import Conversation, converse, profile
from tests.support.speech_like import alternate_speech
from voicecli.events import CommitReply, DraftReply, PlaybackStarted, ReplyCancelled
from voicecli.standin.engines import Result, Segment
from voicecli.standin.engines.scripted import ScriptedStt
from voicecli.standin.script import Latency, LlmScript, Script, SttScript
from voicecli.units import Seconds

EXACT: Seconds = 0.005

SAID = ("What is the weather?", "It costs $25, I think.", "Call me at 10:30.")
IN_WORDS = {"$25,": "twenty five dollars", "10:30.": "ten thirty"}

Rewrite = Callable[[list[str]], list[str]]
"""Words of an interim, as the final has them → as the interim has them."""


def lower(words: list[str]) -> list[str]:
    return [word.casefold().strip(".,?") for word in words]


def spell(words: list[str]) -> list[str]:
    return [IN_WORDS.get(word, word) for word in words]


def shorten(words: list[str]) -> list[str]:
    return words[:-1]


def lengthen(words: list[str]) -> list[str]:
    return [*words, "indeed."]


def mishear(words: list[str]) -> list[str]:
    return ["Watt", *words[1:]]


def keep(words: list[str]) -> list[str]:
    return words


@dataclass
class RewritingStt(ScriptedStt):
    """Recognises what the script says; its interims are rewritten, by each of ``how`` in turn."""

    how: tuple[Rewrite, ...] = (keep,)
    _turns: cycle[Rewrite] = field(init=False)

    def __post_init__(self) -> None:
        self._turns = cycle(self.how)

    @override
    async def recognise(self, segment: Segment, result: Result) -> str:
        text = await super().recognise(segment, result)
        return " ".join(next(self._turns)(text.split())) if result == "interim" else text


def hold(
    *how: Rewrite, lag: Seconds = 0.0, draft_on: str = "interim", ttft: Seconds = 0.3
) -> Conversation:
    """Hold a conversation of three turns."""
    spoken, _ = alternate_speech(0.5, 1.2, 1.5, 1.6, 1.5, 1.3, 2.0)
    stt = SttScript(hears=SAID, gap=0.3, interim=0.2, interim_lag=lag, words_per_second=10)
    llm = LlmScript(ttft=Latency(ttft), says=("It is sunny. It will be sunny tomorrow as well.",))
    return converse(
        profile("turn.detect=vad", f"turn.draft_on={draft_on}"),
        Script(stt=stt, llm=llm),
        spoken,
        stt=lambda: RewritingStt(stt, how),
    )


@cache
def wait_with_finals_only() -> list[Seconds]:
    return hold(keep, draft_on="final").mouth_to_ear()


@pytest.mark.parametrize("lag", [0.0, 0.15, 0.4])
@pytest.mark.parametrize(
    "how",
    [
        pytest.param((keep,), id="as the final"),
        pytest.param((lower, spell), id="written differently"),
        pytest.param((shorten, keep), id="growing"),
        pytest.param((keep, shorten), id="shrinking"),
        pytest.param((lengthen,), id="too long"),
        pytest.param((mishear, keep, lengthen), id="changing"),
    ],
)
def test_whatever_the_interims_say_the_final_words_are_answered_once_and_no_later(
    how: tuple[Rewrite, ...], lag: Seconds
) -> None:
    talk = hold(*how, lag=lag)

    assert talk.error is None
    assert [turn.user_text for turn in talk.turns] == list(SAID)
    commits = {commit.turn: commit.at for commit in talk.all(CommitReply)}
    assert [one.turn for one in talk.all(PlaybackStarted)] == list(commits)
    assert all(one.at >= commits[one.turn] for one in talk.all(PlaybackStarted))
    assert all(one.heard == 0 and not one.committed for one in talk.all(ReplyCancelled))
    for wait, other in zip(talk.mouth_to_ear(), wait_with_finals_only(), strict=True):
        assert wait <= other + EXACT


def test_interims_in_other_words_for_the_same_numbers_cost_no_draft() -> None:
    talk = hold(lower, spell)

    assert len(talk.all(DraftReply)) == len(SAID)
    assert max(talk.mouth_to_ear()) < min(wait_with_finals_only()) - 0.1
