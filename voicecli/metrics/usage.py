"""The ledger of a session: what became of every turn, and what was spent on them.

It balances: each turn is in exactly one of answered, interrupted, discarded, failed and silent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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


PRICES_OF = "2026-08"
"""When the prices were last compared with those of the sources."""

SOURCES = ("https://deepgram.com/pricing", "https://openai.com/api/pricing")

STT_MINUTE: Mapping[str, float] = {"nova-3": 0.0077}
"""Per minute of streamed audio, by the model's beginning: the regular price.  Deepgram's page
shows a promotional one of 0.0048 beside it; several languages at once are 0.0092.
"""

LLM_MILLION: Mapping[str, tuple[float, float]] = {"gpt-4o-mini": (0.15, 0.60)}
"""Per million tokens of prompt and of reply, by model; cached prompts are half as much."""

TTS_THOUSAND: Mapping[str, float] = {"aura-2-": 0.030}
"""Per thousand characters, by the voice's beginning."""

MULTILINGUAL_MINUTE = 0.0092


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedModels:
    """Who does the work; ``standin``: servers on this machine, which cost nothing."""

    stt: str = ""
    language: str = "en"
    llm: str = ""
    tts: str = ""
    standin: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """In US dollars, estimated; None: the price is not known, or nothing was counted.

    lower_bound: something was used and not counted; it costs more than this.
    """

    stt: float | None = None
    llm: float | None = None
    tts: float | None = None
    lower_bound: bool = False

    @property
    def total(self) -> float | None:
        """All that is known; None when nothing is."""
        known = [part for part in (self.stt, self.llm, self.tts) if part is not None]
        return sum(known) if known else None


def estimate_cost(ledger: SessionUsage, models: PricedModels) -> Cost:
    """What the session in ``ledger`` cost, if the STT was sent audio whenever it was connected."""
    if models.standin:
        return Cost(stt=0.0, llm=0.0, tts=0.0)
    parts = (
        _stt(ledger.listened / 60, models),
        _llm(ledger, models.llm),
        _priced(TTS_THOUSAND, models.tts, ledger.characters / 1000),
    )
    stt, llm, tts = parts
    return Cost(stt=stt, llm=llm, tts=tts, lower_bound=bool(ledger.uncounted) or None in parts)


def _stt(minutes: float, models: PricedModels) -> float | None:
    if models.language == "multi" and models.stt.startswith("nova-3"):
        return MULTILINGUAL_MINUTE * minutes
    return _priced(STT_MINUTE, models.stt, minutes)


def _llm(ledger: SessionUsage, model: str) -> float | None:
    prices = LLM_MILLION.get(model)
    if prices is None:
        return None
    if not ledger.llm_requests:
        return 0.0
    if ledger.tokens is None and ledger.prompt_tokens is None:
        return None
    prompt, reply = prices
    return (prompt * (ledger.prompt_tokens or 0) + reply * (ledger.tokens or 0)) / 1e6


def _priced(prices: Mapping[str, float], model: str, amount: float) -> float | None:
    for name, price in prices.items():
        if model.startswith(name):
            return price * amount
    return None
