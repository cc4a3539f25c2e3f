"""What a probe has found so far: routes, readings, mishaps; and the numbers they make.  Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field

from voicecli.errors import VoiceError
from voicecli.events import Service
from voicecli.metrics.stages import MOUTH_TO_EAR
from voicecli.metrics.summary import Distribution, Summary, describe
from voicecli.metrics.usage import SessionUsage
from voicecli.probe.metrics import COLD, COLD_PREFIX, COUNTS, METRICS, SERVICES, in_milliseconds
from voicecli.probe.prediction import Heard, Measured, Prediction, Spoken, Thought
from voicecli.probe.samples import FailedSample, Sample
from voicecli.probe.trace import Route
from voicecli.turns.end_of_turn import classify_ending


@dataclass(slots=True)
class ProbeResults:
    """Of one probe.

    wanted: the services that were to be probed.
    given_up: why a service was not probed to the end, or at all.
    audio: values by metric (``names.AUDIO``); devices: a sentence on what was measured of them.
    notes: what a user should know, a sentence each.
    """

    wanted: tuple[Service, ...] = SERVICES
    routes: list[Route] = field(default_factory=list)
    readings: list[Sample] = field(default_factory=list)
    mishaps: list[FailedSample] = field(default_factory=list)
    given_up: dict[Service, VoiceError] = field(default_factory=dict)
    audio: dict[str, list[float]] = field(default_factory=dict)
    xruns: int | None = None
    devices: str = ""
    notes: list[str] = field(default_factory=list)

    def add(self, found: Sample | FailedSample | Route) -> None:
        """Take note of it."""
        match found:
            case Sample():
                self.readings.append(found)
            case FailedSample():
                self.mishaps.append(found)
            case Route():
                self.routes.append(found)

    def note(self, text: str) -> None:
        """Take note of something to be told, once."""
        if text not in self.notes:
            self.notes.append(text)

    def values(self) -> dict[str, list[float]]:
        """What was measured, by metric, in the order of ``names.METRICS``; none empty."""
        found: dict[str, list[float]] = {name: [] for name in METRICS}
        for route in self.routes:
            for phase, took in route.phases.items():
                found[f"net.{route.service}.{phase}"].append(took)
        for reading in self.readings:
            for name, value in reading.values.items():
                if not reading.cold:
                    found[name].append(value)
                elif name in COLD:
                    found[f"{COLD_PREFIX}{name}"].append(value)
        for name, values in self.audio.items():
            found[name] += values
        return {name: values for name, values in found.items() if values}

    def counts(self) -> Mapping[str, float]:
        """Everything that adds up, summed: what was spent and what went wrong."""
        sums: dict[str, float] = {}
        everything: list[Sample | FailedSample] = [*self.readings, *self.mishaps]
        for one in everything:
            for name, count in one.counts.items():
                sums[name] = sums.get(name, 0) + count
        return sums

    def measured(self) -> Measured:
        """The warm readings, as a prediction needs them."""
        warm = [reading for reading in self.readings if not reading.cold]
        return Measured(
            heard=[
                Heard(
                    noticed=one.values["stt.noticed"],
                    final=one.values.get("stt.final"),
                    ending=classify_ending(one.text),
                )
                for one in warm
                if "stt.noticed" in one.values
            ],
            endpoints=[one.values["stt.endpoint"] for one in warm if "stt.endpoint" in one.values],
            thought=[
                Thought(
                    ttft=one.values["llm.ttft"],
                    clause=one.values["llm.clause"],
                    total=one.values["llm.total"],
                )
                for one in warm
                if "llm.clause" in one.values
            ],
            spoken=[
                Spoken(ttfa=one.values["tts.ttfa"], playout=one.values["playout"])
                for one in warm
                if "tts.ttfa" in one.values
            ],
        )

    def summary(self, prediction: Prediction | None = None) -> Summary:
        """What ``--slo`` is held against."""
        spreads = {name: describe(values) for name, values in self.values().items()}
        if prediction is not None:
            spreads[MOUTH_TO_EAR] = prediction.spread
        known: dict[str, float | None] = dict(self._counted())
        for name, one in spreads.items():
            if not in_milliseconds(name):  # a limit is in the unit of the metric, see expectation
                known |= {f"{name}.{of}": value for of, value in _statistics(one)}
        return Summary(spreads=spreads, counts=known)

    def _counted(self) -> Iterator[tuple[str, float | None]]:
        """``names.COUNTS``; None is what was not asked for, or a share of nothing."""
        sums = self.counts()
        for name in COUNTS:
            service = name.partition(".")[0]
            if name == "audio.xruns":
                yield name, self.xruns
            elif service not in self.wanted:
                yield name, None
            elif name == "stt.wer":
                yield name, _share(sums.get("stt.wrong", 0), sums.get("stt.words", 0))
            elif name == "stt.finalize_rate":
                yield name, _share(sums.get("stt.answered", 0), sums.get("stt.asked", 0))
            else:
                yield name, sums.get(name, 0)

    def ledger(self) -> SessionUsage:
        """What was used, as a conversation's ledger has it."""
        sums = self.counts()
        requests = int(sums.get("llm.requests", 0))
        return SessionUsage(
            listened=sums.get("stt.seconds", 0.0),
            llm_requests=requests,
            tokens=int(sums.get("llm.tokens", 0)),
            prompt_tokens=int(sums.get("llm.prompt_tokens", 0)),
            uncounted=int(sums.get("llm.uncounted", 0)),
            flushes=int(sums.get("tts.flushes", 0)),
            characters=int(sums.get("tts.characters", 0)),
        )

    def request_ids(self, service: Service) -> list[str]:
        """The service's ids of what was measured, each once, in order."""
        ids = (one.request_id for one in self.readings if one.service == service)
        return list(dict.fromkeys(filter(None, ids)))


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _statistics(one: Distribution) -> Iterator[tuple[str, float | None]]:
    yield from asdict(one).items()
