"""Forecasts what units will use: what a run costs, and how many sessions a rate limit allows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from voicecli.corpus.label_file import load_labels
from voicecli.corpus.unit import Unit
from voicecli.environment.files import encode_path
from voicecli.metrics.usage import Cost, SessionUsage, add_costs, estimate_cost
from voicecli.pipeline.generation import CHARACTERS_PER_TOKEN
from voicecli.profile import Profile
from voicecli.units import Seconds

TURN_EVERY: Seconds = 8.0
"""Of a recording without labels; those in tests/speech have a turn every 6 to 12 s."""

DRAFTS_PER_TURN = 1.6
"""704 for 448 turns of tests.bench waiting; each is a request to the LLM, but few of those that are
dropped had begun to answer."""

CHARACTERS_PER_SECOND = 15.0
"""Of speech, at about 150 words a minute."""

REPLY_TOKENS = 40
"""Of a reply of two short sentences, 11 s of speech; fewer if ``llm.max_tokens`` is less."""

QUESTION_TOKENS = 30
"""Of what a user says in a turn: 8 s of speech."""


@dataclass(slots=True)
class Forecaster:
    """Forecasts what units use; reads each recording's length and labels once."""

    _profiles: dict[int, Profile] = field(default_factory=dict)
    _recordings: dict[tuple[str, str | None], tuple[Seconds, int]] = field(default_factory=dict)

    def forecast(self, unit: Unit) -> SessionUsage:
        """Forecast what the session of ``unit`` uses; nothing if its files cannot be read."""
        profile = self._find_profile(unit)
        duration, turns = self._describe(unit)
        tokens = turns * min(profile.llm.max_tokens, REPLY_TOKENS)
        characters = round(tokens * CHARACTERS_PER_TOKEN)
        waits = unit.user == "polite" and not profile.interrupt.allowed
        length = duration + (characters / CHARACTERS_PER_SECOND if waits else 0.0)
        requests = round(turns * DRAFTS_PER_TURN)
        system = len(profile.llm.system_prompt) / CHARACTERS_PER_TOKEN
        history = profile.llm.history
        past = min(  # it grows by a question and a reply each turn, hence the half
            min(turns, history.max_turns) * (QUESTION_TOKENS + REPLY_TOKENS) / 2,
            history.max_chars / CHARACTERS_PER_TOKEN,
        )
        return SessionUsage(
            turns=turns,
            seconds=length,
            listened=length,
            llm_requests=requests,
            prompt_tokens=round(requests * (system + past + QUESTION_TOKENS)),
            tokens=tokens,
            characters=characters,
        )

    def estimate_cost(self, units: Iterable[Unit]) -> Cost:
        """Estimate what ``units`` cost, in US dollars, at list prices; stand-ins cost nothing."""
        return add_costs(
            estimate_cost(self.forecast(unit), self._find_profile(unit).find_prices())
            for unit in units
        )

    def _find_profile(self, unit: Unit) -> Profile:
        key = id(unit.settings)  # which the units of a plan share
        if key not in self._profiles:
            self._profiles[key] = unit.restore_profile()
        return self._profiles[key]

    def _describe(self, unit: Unit) -> tuple[Seconds, int]:
        """Return how long the recording is, and how many turns it has."""
        key = unit.recording, unit.labels
        if key not in self._recordings:
            duration = _measure_duration(Path(unit.recording))
            turns = -(-duration // TURN_EVERY)
            if unit.labels is not None:
                spans = load_labels(Path(unit.labels)).list_spans("turn", "interruption")
                turns = len(spans)
            self._recordings[key] = duration, int(turns)
        return self._recordings[key]


def _measure_duration(recording: Path) -> Seconds:
    """Return the length of a recording by its header; 0 if it cannot be read."""
    import soundfile

    try:
        duration: Seconds = soundfile.info(encode_path(recording)).duration
    except (OSError, RuntimeError):  # measuring it says why
        return 0.0
    return duration
