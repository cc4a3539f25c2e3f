"""A script as a YAML file, read strictly: what is wrong is said with file and key."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

import yaml

from voicecli.errors import InputError, suggest
from voicecli.events import Service
from voicecli.standin.script import (
    FAULT_KINDS,
    Fault,
    Latency,
    LlmScript,
    Script,
    SttScript,
    TtsScript,
)
from voicecli.units import Seconds


def load_script(file: Path) -> Script:
    """The script in a YAML file; raises InputError that names the file and the key."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + 1}" if mark else f"{file}"
        raise InputError(f"{where}: {getattr(error, 'problem', 'no YAML')}") from error
    top = Section(content, file)
    script = Script(
        seed=int(top.number("seed", 1)),
        stt=_stt(top.section("stt")),
        llm=_llm(top.section("llm")),
        tts=_tts(top.section("tts")),
        faults=tuple(_fault(section) for section in top.sections("faults")),
    )
    top.finish()
    return script


def _stt(section: Section) -> SttScript:
    usual = SttScript()
    stt = SttScript(
        final=section.latency("final_ms", usual.final),
        finalize=section.latency("finalize_ms", usual.finalize),
        finalize_silence=section.flag("finalize_silence", usual.finalize_silence),
        interim=section.duration("interim_ms", usual.interim, low=10),
        gap=section.duration("gap_ms", usual.gap, low=30),
        hears=section.texts("hears", usual.hears, empty=True),
    )
    section.finish()
    return stt


def _llm(section: Section) -> LlmScript:
    usual = LlmScript()
    llm = LlmScript(
        ttft=section.latency("ttft_ms", usual.ttft),
        token=section.latency("token_ms", usual.token),
        says=section.texts("says", usual.says),
    )
    section.finish()
    return llm


def _tts(section: Section) -> TtsScript:
    usual = TtsScript()
    tts = TtsScript(
        ttfb=section.latency("ttfb_ms", usual.ttfb),
        speed=section.number("speed", usual.speed, low=0.1),
        char=section.duration("char_ms", usual.char, low=1),
        lead=section.duration("lead_ms", usual.lead),
    )
    section.finish()
    return tts


def _fault(section: Section) -> Fault:
    service: Service = section.choice("service", get_args(Service))
    kind = section.choice("kind", FAULT_KINDS[service])
    every = section.get("on", 1) == "every"
    fault = Fault(
        service=service,
        kind=kind,
        on="every" if every else int(section.number("on", 1, low=1)),
        status=int(section.number("status", 503, low=400, high=599)),
        after=section.duration("after_ms", 0.0),
        lasts=section.duration("for_ms", 5.0),
    )
    section.finish()
    return fault


class Section:
    """A mapping of a script, read key by key.

    name: of the section in the file, as in ``stt.``; "" at the top.
    """

    def __init__(self, content: Any, file: Path, name: str = "") -> None:
        self._file = file
        self._name = name
        if content is not None and not isinstance(content, dict):
            raise self._error("", "must be a mapping of keys")
        # YAML 1.1 reads a bare `on` as true.
        self._content = {
            "on" if key is True else key: (content or {})[key] for key in content or {}
        }
        self._known: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        """The value as it stands."""
        self._known.add(key)
        return self._content.get(key, default)

    def section(self, key: str) -> Section:
        """A mapping below this one."""
        return Section(self.get(key), self._file, f"{self._name}{key}.")

    def sections(self, key: str) -> Iterable[Section]:
        """A list of mappings."""
        items = self.get(key) or []
        if not isinstance(items, list):
            raise self._error(key, "must be a list")
        for index, item in enumerate(items):
            yield Section(item, self._file, f"{self._name}{key}[{index}].")

    def number(self, key: str, default: float, low: float = 0, high: float = math.inf) -> float:
        """A number from ``low`` to ``high``."""
        return self._number(key, self.get(key, default), low, high)

    def duration(self, key: str, default: Seconds, low: float = 0) -> Seconds:
        """Milliseconds, as seconds."""
        return self.number(key, default * 1000, low) / 1000

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        if not isinstance(value := self.get(key, default), bool):
            raise self._error(key, f"must be true or false, not {value!r}")
        return value

    def choice(self, key: str, known: Iterable[Any]) -> Any:
        """One of the ``known`` words."""
        if (value := self.get(key)) not in (known := tuple(known)):
            raise self._error(key, f"must be one of {', '.join(known)}, not {value!r}")
        return value

    def texts(self, key: str, default: tuple[str, ...], *, empty: bool = False) -> tuple[str, ...]:
        """A list of texts; whether any of them may be empty."""
        texts = self.get(key, list(default))
        if not isinstance(texts, list) or not texts:
            raise self._error(key, "must be a list of at least one text")
        for index, text in enumerate(texts):
            if not isinstance(text, str) or not (text.strip() or empty):
                raise self._error(f"{key}[{index}]", f"must be a text, not {text!r}")
        return tuple(texts)

    def latency(self, key: str, default: Latency) -> Latency:
        """Milliseconds, or a mapping of p50, p95, stall_share and stall_ms."""
        if not isinstance(self.get(key), dict):
            return Latency(self.duration(key, default.p50))
        mapping = self.section(key)
        p50 = mapping.duration("p50", default.p50, low=1)
        p95 = mapping.duration("p95", p50, low=p50 * 1000)
        share = mapping.number("stall_share", 0, high=1)
        stall = mapping.get("stall_ms", [2000, 8000])
        if not isinstance(stall, list) or len(stall) != 2:
            raise mapping._error("stall_ms", "must be a list of the least and the most")
        least, most = (mapping._number("stall_ms", value, 0, math.inf) / 1000 for value in stall)
        mapping.finish()
        return Latency(p50, p95 if p95 > p50 else None, share, (least, most))

    def finish(self) -> None:
        """Refuse the keys that nobody asked for."""
        for key in self._content:
            if key not in self._known:
                raise InputError(
                    f"{self._file}: {self._name}{key} is no key of a script",
                    hint=suggest(str(key), self._known),
                )

    def _number(self, key: str, value: Any, low: float, high: float) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._error(key, f"must be a number, not {value!r}")
        if not low <= value <= high:
            limits = f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
            raise self._error(key, f"must be {limits}, not {value:g}")
        return value

    def _error(self, key: str, why: str) -> InputError:
        name = f"{self._name}{key}".rstrip(".") or "a script"
        return InputError(f"{self._file}: {name} {why}")
