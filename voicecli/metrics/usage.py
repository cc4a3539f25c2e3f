"""What a session consists of and what it used: counts, rates and the estimated cost.

A count or rate is declared in one place: its name, what it means and how it is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, get_args

from voicecli import events
from voicecli.metrics.turns import Outcome, Turn
from voicecli.timeline import Entry
from voicecli.units import Seconds

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
"""Each turn has exactly one; their counts sum to the turns."""


def _count(
    description: str,
    kind: type[Turn | Entry],
    value: str | Callable[[Any], int | None] = lambda _: 1,
    default: int | None = 0,
) -> Any:
    """Declare a count: the sum of ``value`` over the turns or entries of ``kind``.

    value: an attribute, or a function; None counts as nothing.
    default: the count of nothing.
    """
    get_value = attrgetter(value) if isinstance(value, str) else value
    metadata = {"description": description, "kind": kind, "value": get_value}
    return field(default=default, metadata=metadata)


def _count_outcome(outcome: Outcome, description: str) -> Any:
    return _count(description, Turn, lambda turn: turn.outcome == outcome)


def _count_discarded(description: str, attribute: str) -> Any:
    """Declare a count over the drafts that were never committed."""

    def get_value(cancelled: events.ReplyCancelled) -> int:
        return 0 if cancelled.committed else getattr(cancelled, attribute)

    estimated = ", estimated where the LLM did not report them" if "tokens" in attribute else ""
    return _count(f"{description}{estimated}", events.ReplyCancelled, get_value)


def _time(description: str) -> Any:
    return field(default=0.0, metadata={"description": description})


def _count_unreported(event: events.ReplyEvent) -> int:
    if isinstance(event, events.ReplyFinished):
        return -(event.prompt_tokens is not None)
    return isinstance(event, events.LlmRequested)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionUsage:
    """What a session consists of, and what it used; a count of None is not known."""

    turns: int = _count("user turns that were committed", Turn)
    answered: int = _count_outcome("answered", "turns whose reply was heard to its end")
    interrupted: int = _count_outcome("interrupted", "turns whose reply was heard in part")
    discarded: int = _count_outcome("discarded", "turns that continued before their reply")
    failed: int = _count_outcome("failed", "turns in which a service failed")
    silent: int = _count_outcome("silent", "turns without audio, though no service failed")
    replied: int = _count(
        "turns of whose reply something was heard, but for an apology", Turn, "replied"
    )
    cutoffs: int = _count(
        "turns whose user spoke again before the reply was heard or within 1.5 s of the "
        "commitment; in a recording, would have",
        Turn,
        "cut_off",
    )
    cutoffs_heard: int = _count(
        "of these, turns whose reply was heard before the user went on", Turn, "cut_off_heard"
    )
    truncated: int = _count(
        "replies that ended at the limit of tokens or by a content filter",
        Turn,
        lambda turn: turn.truncated is not None,
    )
    false_alarms: int = _count("sounds that held a reply and did not take the floor", events.Resume)
    drafts: int = _count("replies that were prepared", events.DraftReply)
    drafts_discarded: int = _count(
        "drafts that were never committed", events.CancelReply, lambda cancel: not cancel.committed
    )
    discarded_tokens: int = _count_discarded("completion tokens of discarded drafts", "tokens")
    discarded_prompt_tokens: int = _count_discarded(
        "prompt tokens of discarded drafts", "prompt_tokens"
    )
    discarded_characters: int = _count_discarded(
        "characters sent to the TTS for discarded drafts", "characters"
    )
    llm_requests: int = _count("requests to the LLM", events.LlmRequested)
    hedges: int = _count("requests that raced a late one", events.LlmRequested, "hedge")
    retries: int = _count("requests that followed a failed one", Turn, "retries")
    tokens: int | None = _count(
        "completion tokens that the LLM reported", events.ReplyFinished, "tokens", None
    )
    prompt_tokens: int | None = _count(
        "prompt tokens that the LLM reported", events.ReplyFinished, "prompt_tokens", None
    )
    uncounted: int = _count(
        "requests for which the LLM reported no tokens", events.ReplyEvent, _count_unreported
    )
    flushes: int = _count("flushes of the TTS", events.ClauseSent, "flushed")
    characters: int = _count(
        "characters sent to the TTS, greeting and apologies included",
        events.ClauseSent,
        lambda clause: len(clause.text),
    )
    underruns: int = _count(
        "times that the loudspeaker ran dry within a reply", events.ReplyFinished, "underruns"
    )
    xruns: int = _count("times that the sound card lost samples", events.AudioGlitched, "xruns")
    seconds: Seconds = _time("length of the session, in seconds")
    listened: Seconds = _time("time for which the STT was connected, in seconds")

    @property
    def draft_discard_rate(self) -> float | None:
        """Share of the drafts that were never committed."""
        return _divide(self.drafts_discarded, self.drafts)

    @property
    def interruption_rate(self) -> float | None:
        """Share of the replies heard that were not heard to their end."""
        return _divide(self.interrupted, self.answered + self.interrupted)


RATES = {
    name: f"s{one.__doc__[1:-1]}"
    for name, one in vars(SessionUsage).items()
    if isinstance(one, property) and one.__doc__
}
"""What each rate (0 to 1) means, by name; a share of nothing is None."""

COUNTS = {one.name: one.metadata["description"] for one in fields(SessionUsage)} | RATES
"""What each number of a session means, by name."""


def count_usage(timeline: Iterable[Entry], turns: Sequence[Turn]) -> SessionUsage:
    """Count what ``timeline``, whose turns are ``turns``, consists of and used."""
    entries = list(timeline)
    counts: dict[str, Any] = {}
    for one in fields(SessionUsage):
        if kind := one.metadata.get("kind"):
            items = (item for item in (*turns, *entries) if isinstance(item, kind))
            known = [n for n in map(one.metadata["value"], items) if n is not None]
            counts[one.name] = sum(known) if known else one.default
    times = [entry.at for entry in entries]
    end = max(times, default=0.0)
    connections = (one for one in entries if isinstance(one, events.ConnectionOpened))
    connected = next((one.at for one in connections if one.service == "stt"), end)
    return SessionUsage(**counts, seconds=end - min(times, default=end), listened=end - connected)


def add_usages(usages: Iterable[SessionUsage]) -> SessionUsage:
    """Add up what sessions consist of; a count that none of them knows is not known."""
    total: dict[str, Any] = {}
    for usage in usages:
        for one in fields(usage):
            value, before = getattr(usage, one.name), total.get(one.name)
            total[one.name] = value if before is None else before + (value or 0)
    return SessionUsage(**total)


def _divide(part: int, whole: int) -> float | None:
    return part / whole if whole else None


# ── cost ─────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """List prices in US dollars, pay as you go; None: not known.

    stt: per minute of streamed audio.
    llm: per million tokens of the prompt and of the completion.
    tts: per thousand characters.
    """

    stt: float | None = None
    llm: tuple[float, float] | None = None
    tts: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """An estimate in US dollars; None: the price is not known, or nothing was counted.

    discarded: the part of ``llm`` and ``tts`` that was spent on discarded drafts.
    lower_bound: something was used and not counted, so the session costs more than this.
    """

    stt: float | None = None
    llm: float | None = None
    tts: float | None = None
    discarded: float | None = None
    lower_bound: bool = False

    @property
    def total(self) -> float | None:
        """The sum of what is known; None when nothing is."""
        known = [part for part in (self.stt, self.llm, self.tts) if part is not None]
        return sum(known) if known else None


def estimate_cost(usage: SessionUsage, prices: Prices) -> Cost:
    """Estimate what ``usage`` cost; the STT is taken to be sent audio while it is connected.

    Prices change and plans differ: the services' bills count, not this.
    """
    stt = _multiply(prices.stt, usage.listened / 60)
    llm = _estimate_llm(usage, prices)
    tts = _multiply(prices.tts, usage.characters / 1000)
    discarded = [
        _price_tokens(prices.llm, usage.discarded_prompt_tokens, usage.discarded_tokens),
        _multiply(prices.tts, usage.discarded_characters / 1000),
    ]
    uncounted = usage.uncounted > usage.drafts_discarded and prices.llm != (0, 0)
    return Cost(
        stt=stt,
        llm=llm,
        tts=tts,
        discarded=None if None in discarded else sum(filter(None, discarded)),
        lower_bound=None in (stt, llm, tts) or uncounted,
    )


def add_costs(costs: Iterable[Cost]) -> Cost:
    """Add up costs; where one is not known, the sum is a lower bound."""
    parts: dict[str, list[float | None]] = {}
    bounds = []
    for cost in costs:
        bounds.append(cost.lower_bound)
        for name in ("stt", "llm", "tts", "discarded"):
            parts.setdefault(name, []).append(getattr(cost, name))
    known = {name: [one for one in part if one is not None] for name, part in parts.items()}
    return Cost(
        **{name: sum(part) if part else None for name, part in known.items()},
        lower_bound=any(bounds),
    )


def _estimate_llm(usage: SessionUsage, prices: Prices) -> float | None:
    if prices.llm is None:
        return None
    if not usage.llm_requests or not sum(prices.llm):
        return 0.0
    if usage.tokens is None and usage.prompt_tokens is None:
        return None
    return _price_tokens(
        prices.llm,
        (usage.prompt_tokens or 0) + usage.discarded_prompt_tokens,
        (usage.tokens or 0) + usage.discarded_tokens,
    )


def _price_tokens(price: tuple[float, float] | None, prompt: int, completion: int) -> float | None:
    return None if price is None else (price[0] * prompt + price[1] * completion) / 1e6


def _multiply(price: float | None, amount: float) -> float | None:
    return None if price is None else price * amount
