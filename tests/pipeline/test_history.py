"""The chat history: what the user said, and what was played of the replies."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from voicecli.events import (
    CancelReply,
    CommitReply,
    DraftReply,
    ReplyCancelled,
    ReplyFailed,
    ReplyFinished,
)
from voicecli.pipeline.history import ChatHistory
from voicecli.services.interfaces import Message
from voicecli.timeline import Entry

SYSTEM = Message("system", "Be brief.")


def user(text: str) -> Message:
    return Message("user", text)


def agent(text: str) -> Message:
    return Message("assistant", text)


def committed(turn: int, text: str) -> list[Entry]:
    return [
        DraftReply(at=turn, turn=turn, user_text=text),
        CommitReply(at=turn, turn=turn, user_text=text, speech_end=turn, reason="default"),
    ]


def answered(turn: int, text: str, said: str) -> list[Entry]:
    return [*committed(turn, text), ReplyFinished(at=turn, turn=turn, said=said, heard=1)]


def interrupted(turn: int, text: str, said: str, *, heard_nothing: bool = False) -> list[Entry]:
    return [
        *committed(turn, text),
        CancelReply(at=turn, turn=turn, heard_nothing=heard_nothing),
        ReplyCancelled(at=turn, turn=turn, said=said, heard=len(said) / 10),
    ]


def messages(timeline: list[Entry], text: str, **limits: int) -> list[Message]:
    return collect(timeline, **limits).messages(text)


def collect(timeline: list[Entry], **limits: int) -> ChatHistory:
    history = ChatHistory("Be brief.", **limits)
    for entry in timeline:
        history(entry)
    return history


def test_at_first_there_is_only_the_question():
    assert messages([], "Hello?") == [SYSTEM, user("Hello?")]
    assert ChatHistory("").messages("Hello?") == [user("Hello?")]


def test_what_was_said_comes_in_order():
    timeline = [*answered(1, "Hello?", "Hi."), *answered(2, "Who are you?", "An agent.")]
    assert messages(timeline, "Really?") == [
        SYSTEM,
        user("Hello?"),
        agent("Hi."),
        user("Who are you?"),
        agent("An agent."),
        user("Really?"),
    ]


def test_an_interrupted_reply_is_kept_as_far_as_it_was_heard():
    timeline = interrupted(1, "Tell me a story.", "Once upon a time")
    assert messages(timeline, "Stop.") == [
        SYSTEM,
        user("Tell me a story."),
        agent("Once upon a time …"),
        user("Stop."),
    ]


def test_a_failed_reply_is_kept_as_far_as_it_was_heard():
    timeline = [
        *committed(1, "Hello?"),
        ReplyFailed(at=1, turn=1, service="llm", reason="late", said="Sorry.", heard=1),
    ]
    assert messages(timeline, "Again?") == [SYSTEM, user("Hello?"), agent("Sorry."), user("Again?")]


def test_unanswered_words_join_the_next_turn():
    timeline = [
        *committed(1, "Hello?"),
        ReplyFailed(at=1, turn=1, service="tts", reason="gone"),
    ]
    assert messages(timeline, "Are you there?") == [SYSTEM, user("Hello?\nAre you there?")]


def test_a_reopened_turn_appears_once():
    timeline = interrupted(1, "What is", "", heard_nothing=True)
    assert messages(timeline, "What is the time?") == [SYSTEM, user("What is the time?")]
    timeline += answered(2, "What is the time?", "Noon.")
    assert messages(timeline, "Thanks.") == [
        SYSTEM,
        user("What is the time?"),
        agent("Noon."),
        user("Thanks."),
    ]


def test_a_turn_silenced_by_a_key_before_it_was_heard_stays():
    timeline = interrupted(1, "Hello?", "", heard_nothing=False)
    assert messages(timeline, "Later.") == [SYSTEM, user("Hello?\nLater.")]


def test_what_was_heard_of_a_revoked_reply_is_kept():
    timeline = interrupted(1, "What is", "It is", heard_nothing=True)
    assert messages(timeline, "What is the time?") == [
        SYSTEM,
        agent("It is …"),
        user("What is the time?"),
    ]


def test_a_dropped_draft_is_left_out():
    timeline: list[Entry] = [
        DraftReply(at=1, turn=1, user_text="What is"),
        CancelReply(at=2, turn=1, heard_nothing=True, committed=False),
        ReplyCancelled(at=2, turn=1, said="", heard=0),
    ]
    assert messages(timeline, "What is the time?") == [SYSTEM, user("What is the time?")]


def test_a_greeting_is_kept():
    timeline: list[Entry] = [ReplyFinished(at=1, turn=0, said="Good morning.", heard=1)]
    assert messages(timeline, "Hello.") == [SYSTEM, agent("Good morning."), user("Hello.")]


def test_the_turn_to_answer_may_be_committed_already():
    history = collect([*answered(1, "Hello?", "Hi."), *committed(2, "Who?")])
    assert history.messages("Who?", turn=2) == [SYSTEM, user("Hello?"), agent("Hi."), user("Who?")]


def test_the_oldest_turns_are_dropped_first():
    timeline = [record for turn in range(1, 9) for record in answered(turn, f"q{turn}", f"a{turn}")]
    assert messages(timeline, "q9", max_turns=2) == [
        SYSTEM,
        *(user("q7"), agent("a7"), user("q8"), agent("a8")),
        user("q9"),
    ]
    assert messages(timeline, "q9", max_turns=0) == [SYSTEM, user("q9")]


def test_a_long_turn_is_dropped_with_all_before_it():
    timeline = [
        *answered(1, "a", "b"),
        *answered(2, "long" * 10, "long" * 10),
        *answered(3, "c", "d"),
    ]
    assert messages(timeline, "e", max_characters=83) == [
        *(SYSTEM, user("long" * 10), agent("long" * 10), user("c"), agent("d"), user("e"))
    ]
    assert messages(timeline, "e", max_characters=82) == [
        *(SYSTEM, user("c"), agent("d"), user("e"))
    ]


def test_the_question_is_kept_however_long_it_is():
    assert messages([], "long" * 10, max_characters=5) == [SYSTEM, user("long" * 10)]


WORDS = st.text("ab \n", max_size=5)
TURNS = st.lists(
    st.tuples(st.sampled_from([answered, interrupted, lambda turn, text, said: []]), WORDS, WORDS),
    max_size=12,
)


@given(TURNS, WORDS.filter(bool), st.integers(0, 8))
def test_roles_alternate_and_the_question_comes_last(turns, text, max_turns):
    history = ChatHistory("Be brief.", max_turns=max_turns)
    for number, (kind, asked, said) in enumerate(turns, 1):
        for record in kind(number, asked, said):
            history(record)
    result = history.messages(text, turn=len(turns) + 1)
    roles = [message.role for message in result]
    assert roles[0] == "system"
    assert all(here != after for here, after in pairwise(roles))
    assert result[-1].role == "user"
    assert result[-1].content.endswith(text)
    assert len(result) <= 2 + 2 * max_turns
