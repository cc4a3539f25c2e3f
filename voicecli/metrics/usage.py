"""The ledger of a session: what became of every turn, and what was spent on them.

It balances: each turn is in exactly one of answered, interrupted, discarded, failed and silent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from voicecli.events import (
    AudioGlitched,
    CancelReply,
    ClauseSent,
    ConnectionOpened,
    DraftReply,
    LlmRequested,
    ReplyFinished,
    Resume,
)
from voicecli.metrics.turns import Outcome, Turn
from voicecli.timeline import Entry
from voicecli.units import Seconds

OUTCOMES: tuple[Outcome, ...] = ("answered", "interrupted", "discarded", "failed", "silent")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionUsage:
    """What a session consists of, and what it used.

    answered … silent: outcomes, which sum to turns; see ``metrics.Outcome``.
    no_reply: turns that were to be answered, and nothing of a reply was heard.
    cutoffs: turns whose user spoke again before the reply was heard, or soon after the commitment.
    false_alarms: somebody made a sound while the agent spoke, and did not take the floor.
    drafts, drafts_discarded: replies prepared, and those of them that were never committed.
    llm_requests, hedges, retries: all requests; those that raced a late one, or followed a failed.
    tokens, prompt_tokens: as far as the service counted them; None when it never did.
    uncounted: requests of which the service did not say how many tokens they took.
    flushes, characters: sent to the TTS, greeting and apologies included.
    underruns: how often the loudspeaker ran dry in a reply.
    xruns: how often the sound card lost samples.
    seconds: length of the session.
    listened: so much of it the STT was connected.
    """

    turns: int = 0
    answered: int = 0
    interrupted: int = 0
    discarded: int = 0
    failed: int = 0
    silent: int = 0
    no_reply: int = 0
    cutoffs: int = 0
    false_alarms: int = 0
    drafts: int = 0
    drafts_discarded: int = 0
    llm_requests: int = 0
    hedges: int = 0
    retries: int = 0
    tokens: int | None = None
    prompt_tokens: int | None = None
    uncounted: int = 0
    flushes: int = 0
    characters: int = 0
    underruns: int = 0
    xruns: int = 0
    seconds: Seconds = 0.0
    listened: Seconds = 0.0

    @property
    def draft_discard_rate(self) -> float | None:
        """Share of the drafts that were never committed; None when there was none."""
        return _share(self.drafts_discarded, self.drafts)

    @property
    def cutoff_rate(self) -> float | None:
        """Share of the turns that cut their user off; None when there was none."""
        return _share(self.cutoffs, self.turns)

    @property
    def interruption_rate(self) -> float | None:
        """Share of the replies heard that were not heard to their end; None when none was."""
        return _share(self.interrupted, self.answered + self.interrupted)


def count_usage(timeline: Iterable[Entry], turns: Sequence[Turn]) -> SessionUsage:
    """The ledger of ``timeline``, whose turns are ``turns``."""
    spent = _Spending()
    for entry in timeline:
        spent.note(entry)
    outcomes = Counter(turn.outcome for turn in turns)
    return SessionUsage(
        turns=len(turns),
        **{outcome: outcomes[outcome] for outcome in OUTCOMES},
        no_reply=sum(not turn.replied for turn in turns if turn.outcome != "discarded"),
        cutoffs=sum(turn.cut_off for turn in turns),
        retries=sum(turn.retries for turn in turns),
        **spent.counts,
        tokens=sum(spent.tokens) if spent.tokens else None,
        prompt_tokens=sum(spent.prompt_tokens) if spent.prompt_tokens else None,
        uncounted=spent.counts["llm_requests"] - len(spent.prompt_tokens),
        seconds=_since(spent.since, spent.until),
        listened=_since(spent.listened_since, spent.until),
    )


class _Spending:
    """Counts what a timeline says was used."""

    def __init__(self) -> None:
        names = "false_alarms drafts drafts_discarded llm_requests hedges flushes characters"
        self.counts = dict.fromkeys([*names.split(), "underruns", "xruns"], 0)
        self.tokens: list[int] = []
        self.prompt_tokens: list[int] = []
        self.since: Seconds | None = None
        self.listened_since: Seconds | None = None
        self.until: Seconds = 0.0

    def note(self, entry: Entry) -> None:
        """``entry`` is what comes next."""
        self.since = entry.at if self.since is None else min(self.since, entry.at)
        self.until = max(self.until, entry.at)
        match entry:
            case ConnectionOpened(service="stt") if self.listened_since is None:
                self.listened_since = entry.at
            case DraftReply():
                self._add(drafts=1)
            case CancelReply(committed=False):
                self._add(drafts_discarded=1)
            case Resume():
                self._add(false_alarms=1)
            case LlmRequested():
                self._add(llm_requests=1, hedges=entry.hedge)
            case ClauseSent():
                self._add(flushes=entry.flushed, characters=len(entry.text))
            case AudioGlitched():
                self._add(xruns=entry.xruns)
            case ReplyFinished():
                self._finished(entry)

    def _finished(self, reply: ReplyFinished) -> None:
        self._add(underruns=reply.underruns)
        if reply.tokens is not None:
            self.tokens.append(reply.tokens)
        if reply.prompt_tokens is not None:
            self.prompt_tokens.append(reply.prompt_tokens)

    def _add(self, **counts: int) -> None:
        for name, count in counts.items():
            self.counts[name] += count


def _since(start: Seconds | None, end: Seconds) -> Seconds:
    return end - start if start is not None else 0.0


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
