"""What a session cost, estimated: list prices, in US dollars, pay as you go.

Prices change and plans differ; what the services bill is what counts.  What is not counted makes an
estimate a lower bound, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from voicecli.metrics.usage import SessionUsage

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
