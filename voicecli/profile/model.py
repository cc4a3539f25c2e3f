"""All settings of a conversation, and the pydantic models that check what a profile says of them.

The models derive from the declarations (``voicecli.settings``): they check a profile in its own
units, milliseconds among them, and then build the frozen dataclasses that the program uses.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from types import GenericAlias, NoneType, UnionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    Self,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    create_model,
    model_validator,
)
from pydantic.types import Strict
from pydantic_core import PydanticCustomError

from voicecli.audio.interfaces import AudioSettings
from voicecli.metrics.summary import Budgets
from voicecli.metrics.usage import Prices
from voicecli.services import PROVIDERS, find_provider
from voicecli.services.interfaces import LlmSettings, SttSettings, TtsSettings
from voicecli.settings import (
    Setting,
    SettingsConflict,
    encode_section,
    list_settings,
    section,
    setting,
)
from voicecli.turns.policy import BargeInPolicy, SessionLimits, TurnPolicy

DEFAULT_PROVIDERS = {
    "stt": SttSettings().provider,
    "llm": LlmSettings().provider,
    "tts": TtsSettings().provider,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StandinSettings:
    """Servers on this machine in the place of the services."""

    engine: Literal["scripted", "local"] = setting(
        doc="scripted: exact latencies and faults; local: small real models."
    )
    script: str | None = setting(
        None, doc="Name of a script, or a path ending in .yaml, relative to the profile."
    )
    require_key: bool = setting(False, doc="Refuse a connection without a key, as the services do.")

    def check(self) -> None:
        """Raise SettingsConflict where the script is missing."""
        if self.engine == "scripted" and self.script is None:
            raise SettingsConflict("engine: scripted needs a script", "engine", "script")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalLlmSettings:
    """The language model of the local engine."""

    model: str | None = setting(
        None, doc="Path of a .gguf file, relative to the profile; null: the downloaded one."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """The local engine."""

    llm: LocalLlmSettings = section(LocalLlmSettings)
    threads: int | None = setting(
        None, ge=1, le=256, doc="Threads of the language model; null: all cores but one."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """All settings of a conversation."""

    description: str = setting(
        "", empty=True, doc="One line for the list of profiles; not inherited."
    )
    extends: str | None = setting(
        None,
        empty=True,
        doc="Profile that this one changes: a name, or a path ending in .yaml, relative to this "
        "file.",
    )
    audio: AudioSettings = section(AudioSettings)
    stt: SttSettings = section(lambda: find_provider("stt", DEFAULT_PROVIDERS["stt"]).settings())
    llm: LlmSettings = section(lambda: find_provider("llm", DEFAULT_PROVIDERS["llm"]).settings())
    tts: TtsSettings = section(lambda: find_provider("tts", DEFAULT_PROVIDERS["tts"]).settings())
    turn: TurnPolicy = section(TurnPolicy)
    interrupt: BargeInPolicy = section(BargeInPolicy)
    limits: SessionLimits = section(SessionLimits)
    budgets: Budgets = section(Budgets)
    standin: StandinSettings | None = setting(None, doc=StandinSettings.__doc__ or "")
    local: LocalSettings = section(LocalSettings)

    def resolved(self) -> dict[str, Any]:
        """Every setting as plain data, in the shape of a profile that extends nothing."""
        return {key: value for key, value in encode_section(self).items() if key != "extends"}

    def find_prices(self) -> Prices:
        """List prices of the services; stand-ins cost nothing."""
        if self.standin is not None:
            return Prices(stt=0.0, llm=(0.0, 0.0), tts=0.0)
        stt, llm, tts = (
            find_provider(role, settings.provider).list_price(settings) or ()
            for role, settings in (("stt", self.stt), ("llm", self.llm), ("tts", self.tts))
        )
        return Prices(
            stt=stt[0] if stt else None,
            llm=(llm[0], llm[1]) if llm else None,
            tts=tts[0] if tts else None,
        )


# ── models ───────────────────────────────────────────────────────────────────


class Section(BaseModel):
    """The model of a section.  It converts nothing silently and allows no unknown key.

    built_type: the dataclass that it checks the values of.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
    built_type: ClassVar[type[Any]]

    def build(self) -> Any:
        """The section as the program uses it."""
        values = {}
        for name, key, declared in list_settings(self.built_type):
            value = getattr(self, key)
            values[name] = _build(value, declared)
        return self.built_type(**values)

    @model_validator(mode="after")
    def _check_conflicts(self) -> Self:
        if (check := getattr(self.built_type, "check", None)) is not None:
            try:
                check(self.build())
            except SettingsConflict as error:
                context = {"rule": error.rule, "keys": error.keys}
                raise PydanticCustomError("conflict", "{rule}", context) from None
        return self


def _build(value: Any, declared: Setting) -> Any:
    if isinstance(value, Section):
        return value.build()
    if isinstance(value, tuple) and any(isinstance(one, Section) for one in value):
        return tuple(_build(one, declared) for one in value)
    return declared.decode(value)


@cache
def create_section(kind: Any) -> type[Section]:
    """The model of a dataclass of settings."""
    return _create(kind, {})


@cache
def create_profile(stt: str, llm: str, tts: str) -> type[Section]:
    """The model of a profile whose services are of these providers."""
    chosen = {"stt": stt, "llm": llm, "tts": tts}
    return _create(
        Profile, {role: find_provider(role, name).settings for role, name in chosen.items()}
    )


def _create(kind: Any, kinds: dict[str, Any]) -> type[Section]:
    """kinds: the dataclasses of the sections that the type hint leaves open, by name."""
    hints = get_type_hints(kind)
    defaults = {one.name: one for one in fields(kind)}
    definitions: dict[str, Any] = {}
    for name, key, declared in list_settings(kind):
        if name in kinds:
            model = _create_service(name, kinds[name])
            definitions[key] = (model, model())
            continue
        default = defaults[name].default
        if default is MISSING and (factory := defaults[name].default_factory) is not MISSING:
            default = factory()
        given = ... if default is MISSING else _default(default, declared)
        described = Field(given, description=declared.doc or None)
        definitions[key] = (_allowed(hints[name], declared), described)
    model = create_model(
        kind.__name__.removesuffix("Settings"),
        __base__=Section,
        __doc__=_describe(kind),
        **definitions,
    )
    model.built_type = kind
    return model


def _create_service(role: str, kind: Any) -> type[Section]:
    """The model of a service's section; ``provider`` is one of the names in the registry."""
    base = create_section(kind)
    declared = base.model_fields["provider"]
    provider: Any = (
        Literal[tuple(PROVIDERS[role])],
        Field(declared.default, description=declared.description),
    )
    model = create_model(
        role.capitalize(), __base__=base, __doc__=_describe(kind), provider=provider
    )
    model.built_type = kind
    return model


def _describe(kind: type[Any]) -> str:
    """The first sentence of a section's docstring."""
    return (kind.__doc__ or "").split(".", 1)[0] + "."


def _default(value: Any, declared: Setting) -> Any:
    """The default of a setting as a profile would say it."""
    if is_dataclass(value):
        kind: Any = type(value)
        return create_section(kind).model_validate(encode_section(value))
    encoded = declared.encode(value)
    return tuple(encoded) if isinstance(value, tuple) else encoded


def _allowed(hint: Any, declared: Setting) -> Any:
    """What a profile may say for an attribute of the type ``hint``."""
    if get_origin(hint) in (Union, UnionType):
        return Union[tuple(_allowed(one, declared) for one in get_args(hint))]  # noqa: UP007
    if hint is NoneType:
        return None if declared.off is None else Annotated[Literal[False], _NO_ZERO]
    if is_dataclass(hint):
        kind: Any = hint
        return create_section(kind)
    limits = {name: getattr(declared, name) for name in ("ge", "gt", "le")}
    if hint is float:
        number = int if declared.unit == "_ms" and declared.whole else float
        return Annotated[number, Field(**limits)]
    if hint is int:
        return Annotated[int, Field(**limits)]
    if hint is str:
        return Annotated[
            str,
            Field(
                min_length=None if declared.empty else 1,
                max_length=declared.max_length,
                pattern=declared.pattern,
                examples=[declared.example] if declared.example else None,
            ),
        ]
    if get_origin(hint) is Literal:
        return Annotated[hint, BeforeValidator(_read_switch(get_args(hint)))]
    if get_origin(hint) is tuple:
        items = [one if one is ... else _allowed(one, declared) for one in get_args(hint)]
        return Annotated[GenericAlias(tuple, tuple(items)), Strict(False)]  # YAML has lists
    if get_args(hint):  # a mapping
        values = get_args(hint)[1]
        return GenericAlias(dict, (str, JsonValue if values is Any else values))
    return hint


_NO_ZERO = BeforeValidator(lambda value: value if value is False else None)
"""0 would pass as False."""


def _read_switch(words: tuple[Any, ...]) -> Any:
    """YAML 1.1 reads a bare ``on`` or ``off`` as true or false."""

    def read(value: Any) -> Any:
        word = "on" if value is True else "off" if value is False else None
        return word if word in words else value

    return read
