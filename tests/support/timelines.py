"""Timelines of conversations that were never held: every time in them is exact."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_type_hints

from hypothesis import strategies as st

from voicecli.events import (
    CancelReply,
    ClauseReady,
    ClauseSent,
    CommitReply,
    ConnectionOpened,
    DraftReply,
    EndReason,
    Finalize,
    FinalTranscript,
    FirstAudio,
    FirstToken,
    InterimTranscript,
    LlmRequested,
    PlaybackStarted,
    ReplyCancelled,
    ReplyFailed,
    ReplyFinished,
    SpeechStarted,
    SpeechStopped,
)
from voicecli.metrics.turns import Turn, measure_turns
from voicecli.timeline import KINDS, Entry, Header, open_writer
from voicecli.units import Seconds

FINITE = st.floats(allow_nan=False, allow_infinity=False)

Ends = Literal["finished", "interrupted", "taken back", "llm failed", "tts failed", "silent"]


def any_entry(**given: st.SearchStrategy[Any]) -> st.SearchStrategy[Entry]:
    """Any event or action; ``given``: what is in the fields of these names, where there are any."""
    return st.one_of([_any(kind, given) for kind in KINDS.values()])


def _any(kind: type[Entry], given: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Entry]:
    floats = {float: FINITE, float | None: st.none() | FINITE}
    values = {
        name: given.get(name, floats.get(hint, st.from_type(hint)))
        for name, hint in get_type_hints(kind).items()
    }
    return st.builds(kind, **values)


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One turn of a conversation; durations in seconds, each after what it waits for.

    start: when the user begins; spoken: for how long.
    stop: until the detector says so; final: from there until the final text.
    commit: from the end of the voice; None: with the final text, as the endpointing strategy does.
    """

    number: int = 1
    start: float = 0.0
    spoken: float = 1.0
    text: str = "What is the time?"
    stop: float = 0.2
    final: float = 0.1
    commit: float | None = None
    reason: EndReason = "speech_final"
    request: float = 0.001
    ttft: float = 0.2
    clause: float = 0.045
    send: float = 0.0
    ttfb: float = 0.1
    lead: float = 0.02
    playout: float = 0.06
    said: str = "It is noon."
    heard: float = 1.5
    ends: Ends = "finished"
    tokens: int | None = None
    prompt_tokens: int | None = None

    def entries(self) -> list[Entry]:
        """In the order in which they happened."""
        entries = [*self.user(), *self.agent()]
        return sorted(entries, key=lambda entry: entry.at)

    @property
    def speech_end(self) -> float:
        return self.start + self.spoken

    @property
    def final_at(self) -> float:
        return self.speech_end + self.stop + self.final

    @property
    def commit_at(self) -> float:
        if self.commit is None:
            return self.final_at
        return max(self.speech_end + self.commit, self.final_at)

    def user(self) -> list[Entry]:
        """Up to the commitment."""
        start, end, text = self.start, self.speech_end, self.text
        asks = self.commit is not None
        return [
            SpeechStarted(at=start + 0.1, speech_start=start),
            InterimTranscript(
                at=start + 0.5, text="What", speech_start=start, speech_end=end - 0.4
            ),
            SpeechStopped(at=end + self.stop, speech_end=end),
            *([Finalize(at=end + self.stop)] if asks else []),
            FinalTranscript(
                at=self.final_at,
                text=text,
                speech_start=start,
                speech_end=end - 0.03,
                speech_final=not asks,
                from_finalize=asks,
            ),
            DraftReply(at=self.final_at, turn=self.number, user_text=text),
            CommitReply(
                at=self.commit_at,
                turn=self.number,
                user_text=text,
                speech_end=end,
                reason=self.reason,
            ),
        ]

    def agent(self) -> list[Entry]:
        """From the request to the end of the reply."""
        turn = self.number
        asked = self.final_at + self.request
        token = asked + self.ttft
        clause = token + self.clause
        sent = max(clause, self.commit_at) + self.send
        byte = sent + self.ttfb
        audible = byte + self.lead
        sounds = audible + self.playout
        stages: list[tuple[Ends, Entry]] = [
            ("taken back", LlmRequested(at=asked, turn=turn)),
            ("llm failed", FirstToken(at=token, turn=turn)),
            ("llm failed", ClauseReady(at=clause, turn=turn, text=self.said)),
            ("llm failed", ClauseSent(at=sent, turn=turn, text=self.said, flushed=True)),
            ("silent", FirstAudio(at=audible, turn=turn, first_byte=byte, lead=self.lead)),
            ("silent", PlaybackStarted(at=sounds, turn=turn)),
        ]
        gone = {"taken back": 1, "llm failed": 1, "silent": 4}
        return [*(entry for _, entry in stages[: gone.get(self.ends)]), *self.end(sounds)]

    def end(self, sounds: float) -> list[Entry]:
        """How the reply ended."""
        turn, over = self.number, sounds + self.heard
        match self.ends:
            case "finished":
                return [
                    ReplyFinished(
                        at=over,
                        turn=turn,
                        said=self.said,
                        heard=self.heard,
                        tokens=self.tokens,
                        prompt_tokens=self.prompt_tokens,
                    )
                ]
            case "interrupted":
                return [
                    CancelReply(at=over, turn=turn, heard_nothing=False),
                    ReplyCancelled(at=over, turn=turn, said=self.said, heard=self.heard),
                ]
            case "taken back":
                gone = self.commit_at + 0.1
                return [
                    CancelReply(at=gone, turn=turn, heard_nothing=True),
                    ReplyCancelled(at=gone, turn=turn, said="", heard=0.0),
                ]
            case "silent":
                return [ReplyFinished(at=over, turn=turn, said=self.said, heard=0.0)]
            case "llm failed":
                # What sounds is the apology.
                return [
                    PlaybackStarted(at=sounds, turn=turn),
                    ReplyFailed(
                        at=over, turn=turn, service="llm", reason="no token", said="Sorry.", heard=1
                    ),
                ]
            case "tts failed":
                return [
                    ReplyFailed(
                        at=over, turn=turn, service="tts", reason="gone", said="It", heard=0.5
                    )
                ]


OPENED = [
    ConnectionOpened(at=0.05, service="stt", took=0.041, request_id="a"),
    ConnectionOpened(at=0.06, service="tts", took=0.052, request_id="b"),
]
NASTY = "\x1b]0;title\x07red\x1b[31m \u202eleft\nnext sk-abcdefghijkl " + "long " * 50


def entries_until(exchange: Exchange, kind: type[Entry]) -> list[Entry]:
    """The connections, and the exchange up to its first entry of a kind."""
    entries = exchange.entries()
    index = next(i for i, entry in enumerate(entries) if isinstance(entry, kind))
    return [*OPENED, *entries[: index + 1]]


def transcript(text: str, *, final: bool = True, start: Seconds = 8.0) -> Entry:
    """Half a second of the user's words, which arrive at 9 s."""
    kind: Any = FinalTranscript if final else InterimTranscript
    return kind(at=9.0, text=text, speech_start=start, speech_end=start + 0.5)


def save(timeline: Iterable[Entry], path: Path, header: Header) -> None:
    """Write ``timeline`` to ``path``."""
    with open_writer(path, header) as writer:
        for entry in timeline:
            writer(entry)


PLAIN = Exchange()
DRAFTED = Exchange(commit=0.9, reason="default")


def only(entries: list[Entry]) -> Turn:
    """The only turn of a timeline."""
    (turn,) = measure_turns(entries)
    return turn


def inserted(entries: list[Entry], *more: Entry) -> list[Entry]:
    """The entries of both, in order."""
    return sorted([*entries, *more], key=lambda entry: entry.at)


def ms(durations: Mapping[str, float]) -> dict[str, float]:
    """Durations in milliseconds, without what arithmetic adds."""
    return {name: round(took * 1000, 6) for name, took in durations.items()}
