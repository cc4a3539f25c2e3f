"""Profiles: what they amount to, and what is said of the wrong ones."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.support import PROFILES
from voicecli.errors import ProfileError
from voicecli.metrics.usage import Prices
from voicecli.profile import Profile, list_profiles, load_profile
from voicecli.profile.layers import Key, merge
from voicecli.profile.load import find_file

SHIPPED = PROFILES
NAMES = sorted(file.stem for file in SHIPPED.glob("*.yaml"))

Write = Callable[[str, str], Path]


@pytest.fixture(autouse=True)
def user_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "voicecli" / "profiles"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, text: str) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    return write


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Profile]:
    def load(name: str, *overrides: str, **environ: str) -> Profile:
        return load_profile(name, overrides=overrides, environ=environ, cwd=tmp_path)

    return load


@pytest.fixture
def refused(load: Callable[..., Profile]) -> Callable[..., str]:
    def refused(name: str, *overrides: str, **environ: str) -> str:
        with pytest.raises(ProfileError) as caught:
            load(name, *overrides, **environ)
        return str(caught.value)

    return refused


# ── the shipped ones ─────────────────────────────────────────────────────────


def test_the_default_profile_spells_out_every_default_of_the_code():
    written = yaml.safe_load((SHIPPED / "default.yaml").read_text(encoding="utf-8"))
    written["interrupt"]["policy"] = "off"  # YAML 1.1 reads a bare off as false
    expected = Profile().resolved() | {"description": written["description"]}
    assert written == expected


def test_the_default_profile_explains_every_key():
    lines = (SHIPPED / "default.yaml").read_text(encoding="utf-8").splitlines()
    keys = [index for index, line in enumerate(lines) if re.match(r" *\w+:( |$)", line)]
    assert len(keys) > 80
    unexplained = [lines[index] for index in keys if "#" not in lines[index - 1]]
    assert unexplained == [lines[0]]  # the description


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_profile_loads_again_from_what_it_resolves_to(name, load, write):
    resolved = load(name).resolved()
    write("again.yaml", yaml.safe_dump(resolved))
    assert load("again.yaml").resolved() == resolved
    assert json.loads(json.dumps(resolved)) == resolved


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_profile_describes_itself_in_one_line(name, load):
    assert 10 < len(load(name).description) < 80


def test_the_shipped_profiles_are_what_their_names_say(load):
    default, classic, local = load("default"), load("classic"), load("local")
    assert (default.audio.sample_rate, default.tts.sample_rate) == (48_000, 48_000)
    assert (default.stt.model, default.llm.model) == ("nova-3", "gpt-4o-mini")
    assert default.interrupt.policy == "off"
    assert (load("lowband").audio.sample_rate, load("lowband").audio.block) == (16_000, 0.1)
    assert load("duplex").interrupt.policy == "headphones"
    assert local.standin is not None
    assert local.standin.engine == "local"
    assert classic.turn.each_final_is_a_turn
    assert not classic.stt.interim_results
    assert classic.stt.utterance_end is None
    assert (classic.tts.chunking, classic.tts.flush) == ("batches", "end")


def test_a_profile_cannot_be_changed(load):
    with pytest.raises(FrozenInstanceError):
        load("default").stt.model = "nova-2"


def test_list_prices_are_those_of_the_services_chosen(load):
    ours = Prices(stt=0.0077, llm=(0.15, 0.60), tts=0.030)
    assert load("default").find_prices() == ours
    languages = load("default", "stt.language=multi").find_prices()
    assert languages == replace(ours, stt=0.0092)
    unknown = load("default", "llm.model=gpt-7", "stt.model=nova-2", "tts.model=x").find_prices()
    assert unknown == Prices()
    assert load("scripted").find_prices() == Prices(stt=0.0, llm=(0.0, 0.0), tts=0.0)


# ── finding ──────────────────────────────────────────────────────────────────


def test_the_project_comes_before_the_user_and_the_user_before_the_package(
    load, write, user_folder
):
    assert load("lowband").llm.max_tokens == 60
    write(str(user_folder / "lowband.yaml"), "llm: {max_tokens: 2}")
    assert load("lowband").llm.max_tokens == 2
    write("profiles/lowband.yaml", "llm: {max_tokens: 1}")
    assert load("lowband").llm.max_tokens == 1


def test_a_profile_may_extend_the_next_one_of_its_own_name(load, write, user_folder):
    write("profiles/default.yaml", "extends: default\nllm: {model: a}")
    write(str(user_folder / "default.yaml"), "extends: default\nllm: {model: b, max_tokens: 7}")
    profile = load("default")
    assert (profile.llm.model, profile.llm.max_tokens) == ("a", 7)
    assert profile.stt.model == "nova-3"


def test_a_path_is_relative_to_the_profile_that_extends_it(load, write):
    write("shared/base.yaml", "llm: {model: base}")
    write("shared/mine.yaml", "extends: base.yaml")
    assert load("shared/mine.yaml").llm.model == "base"


def test_an_unknown_name_is_refused_with_the_known_ones(refused):
    assert refused("lowbnd") == (
        f"there is no profile lowbnd. Did you mean lowband? Known: {', '.join(NAMES)}."
    )


def test_an_unknown_base_is_refused_where_it_is_named(refused, write):
    write("a.yaml", "description: x\nextends: zzz")
    assert refused("a.yaml") == (f"a.yaml:2: there is no profile zzz. Known: {', '.join(NAMES)}.")
    write("b.yaml", "extends: gone.yaml")
    assert refused("b.yaml") == "b.yaml:1: there is no file gone.yaml"


def test_profiles_that_extend_each_other_are_refused_by_the_chain_of_their_names(refused, write):
    write("profiles/a.yaml", "extends: b")
    write("profiles/b.yaml", "description: x\nextends: a")
    assert refused("a") == "profiles/b.yaml:2: profiles extend each other: a → b → a"
    write("profiles/c.yaml", "extends: c")
    assert refused("c") == "profiles/c.yaml:1: profiles extend each other: c → c"


def test_the_list_profiles_say_where_they_are_from(tmp_path, write, user_folder):
    write("profiles/mine.yaml", 'description: "mine\\e[31m"')
    write("profiles/broken.yaml", "a: [")
    write(str(user_folder / "default.yaml"), "description: the user's")
    known = {profile.name: profile[1:] for profile in list_profiles(tmp_path)}
    assert sorted(known) == sorted([*NAMES, "mine", "broken"])
    assert known["mine"] == ("project", "mine\\x1b[31m")
    assert known["broken"][1].startswith("profiles/broken.yaml:1: ")
    assert known["default"] == ("user", "the user's")
    assert known["local"][0] == "shipped"


def test_in_the_source_folder_the_shipped_profiles_are_not_the_projects_own():
    assert {profile.origin for profile in list_profiles(SHIPPED.parent)} == {"shipped"}


def test_a_script_is_found_by_name_beside_the_profiles_and_by_path(tmp_path, write):
    file = write("profiles/scripts/mine.yaml", "seed: 1")
    assert find_file("mine", cwd=tmp_path, kind="script") == file
    assert find_file("profiles/scripts/mine.yaml", cwd=tmp_path, kind="script") == file
    with pytest.raises(ProfileError, match=r"there is no script mime\. Did you mean mine"):
        find_file("mime", cwd=tmp_path, kind="script")


# ── layers ───────────────────────────────────────────────────────────────────


def test_maps_merge_and_lists_and_scalars_replace(load, write):
    write("a.yaml", "stt: {keyterms: [a, b], tag: t, extra: {x: 1}}")
    write("b.yaml", "extends: a.yaml\nstt: {keyterms: [c], extra: {y: 2}}")
    stt = load("b.yaml").stt
    assert (stt.keyterms, stt.tag, stt.extra) == (("c",), "t", {"x": 1, "y": 2})


def test_a_section_that_may_be_null_is_switched_off_and_on_again(load, write):
    write("off.yaml", "extends: local\nstandin: null")
    write("on.yaml", "extends: off.yaml\nstandin: {engine: local}")
    assert load("off.yaml").standin is None
    assert load("on.yaml").standin is not None


def test_the_command_line_comes_before_the_environment_before_the_profile(load, write):
    write("a.yaml", "stt: {model: nova-3-file, language: de, tag: file}")
    stt = load(
        "a.yaml",
        "stt.model=nova-3-option",
        VOICECLI_STT__MODEL="nova-3-variable",
        VOICECLI_STT__LANGUAGE="fr",
    ).stt
    assert (stt.model, stt.language, stt.tag) == ("nova-3-option", "fr", "file")


def test_later_options_come_before_earlier_ones(load):
    assert load("default", "llm.max_tokens=1", "llm.max_tokens=2").llm.max_tokens == 2


def test_variables_of_another_shape_are_no_settings(load):
    default = load("default")
    assert load("default", VOICECLI_PROFILE="x", VOICECLI_MODELS="/m", STT__MODEL="x") == default


@pytest.mark.parametrize(
    ("text", "apology"),
    [
        ("Sorry: once more", "Sorry: once more"),
        ("Sorry, again", "Sorry, again"),
        ("''", ""),
        ("'3'", "3"),
        ("2026-11-24", "2026-11-24"),
    ],
)
def test_a_sentence_given_as_an_option_stays_one(load, text, apology):
    assert load("default", f"tts.apology={text}").tts.apology == apology


def test_options_are_yaml_scalars_and_flow(load):
    stt = load("default", "stt.endpointing_ms=false", "stt.keyterms=[a, b c]", "stt.tag=").stt
    assert (stt.endpointing, stt.keyterms, stt.tag) == (None, ("a", "b c"), None)
    assert load("default", "llm.extra.reasoning_effort=low").llm.extra == {
        "reasoning_effort": "low"
    }


def test_files_named_in_a_profile_are_relative_to_it(load, write, tmp_path):
    write(
        "there/a.yaml",
        "standin: {engine: scripted, script: s.yaml}\nlocal: {llm: {model: m.gguf}}",
    )
    write("here.yaml", "extends: there/a.yaml")
    profile = load("here.yaml")
    assert profile.standin is not None
    assert profile.standin.script == str(tmp_path / "there/s.yaml")
    assert profile.local.llm.model == str(tmp_path / "there/m.gguf")
    profile = load("here.yaml", "local.llm.model=n.gguf", VOICECLI_STANDIN__SCRIPT="demo")
    assert profile.standin is not None
    assert profile.standin.script == "demo"
    assert profile.local.llm.model == str(tmp_path / "n.gguf")


def test_a_description_is_not_inherited(load, write):
    write("a.yaml", "extends: default")
    assert load("a.yaml").description == ""


Tree = dict[str, Any]
TREES: st.SearchStrategy[Tree] = st.recursive(
    st.dictionaries(st.sampled_from("abc"), st.integers() | st.lists(st.integers(), max_size=2)),
    lambda inner: st.dictionaries(st.sampled_from("abc"), st.integers() | inner),
    max_leaves=12,
)


def leaves(tree: Tree, key: Key = ()) -> dict[Key, Any]:
    found: dict[Key, Any] = {}
    for name, value in tree.items():
        here = (*key, name)
        found |= leaves(value, here) if isinstance(value, dict) and value else {here: value}
    return found


def overlap(a: Key, b: Key) -> bool:
    return a[: len(b)] == b[: len(a)]


@given(TREES, TREES)
def test_what_lies_on_top_is_all_there_and_what_it_does_not_touch_as_well(base, over):
    result = leaves(merge(base, over))
    on_top = {key: value for key, value in leaves(over).items() if value != {}}
    touched = leaves(over)
    beneath = {
        key: value
        for key, value in leaves(base).items()
        if not any(overlap(key, other) for other in touched)
    }
    assert on_top.items() <= result.items()
    assert beneath.items() <= result.items()


@given(TREES)
def test_merging_with_nothing_or_with_itself_changes_nothing(tree):
    assert merge(tree, {}) == merge({}, tree) == merge(tree, tree) == tree


@given(TREES, TREES)
def test_merging_leaves_its_inputs_as_they_were(base, over):
    before = json.dumps([base, over])
    merge(base, over)
    assert json.dumps([base, over]) == before


# ── what is refused, and where ───────────────────────────────────────────────


def test_an_unknown_key_is_refused_with_what_it_may_have_meant(refused, write):
    write("a.yaml", "extends: default\nstt:\n  model: nova-3\n  endpoint_ms: 3\n")
    assert refused("a.yaml") == (
        "a.yaml:4: unknown key stt.endpoint_ms. Did you mean stt.endpointing_ms?"
    )


def test_a_key_in_the_wrong_section_is_sent_to_the_right_one(refused, write):
    write("a.yaml", "endpointing_ms: 3")
    assert refused("a.yaml") == (
        "a.yaml:1: unknown key endpointing_ms. Did you mean stt.endpointing_ms?"
    )


def test_an_unknown_key_like_no_other_is_refused_with_all_that_are_known(refused, write):
    write("a.yaml", "limits:\n  xyzzy: 3")
    assert refused("a.yaml") == "a.yaml:2: unknown key limits.xyzzy. Known here: idle_s, minutes."


def test_a_fault_in_a_base_is_told_with_the_line_of_the_base(refused, write):
    write("base.yaml", "\n\naudio:\n  block_ms: 5\n")
    write("a.yaml", "extends: base.yaml\nstt:\n  model: nova-3\n")
    assert refused("a.yaml") == (
        "base.yaml:4: audio.block_ms should be a whole number from 10 to 250, not 5"
    )


def test_a_fault_mended_by_the_profile_on_top_is_none(load, write):
    write("base.yaml", "audio: {block_ms: 5}")
    write("a.yaml", "extends: base.yaml\naudio: {block_ms: 10}")
    assert load("a.yaml").audio.block == 0.01


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("audio.sample_rate=7999", "should be a whole number from 8000 to 48000, not 7999"),
        ("audio.sample_rate='48000'", 'should be a whole number from 8000 to 48000, not "48000"'),
        ("audio.block_ms=20.5", "should be a whole number from 10 to 250, not 20.5"),
        ("audio.block_ms=true", "should be a whole number from 10 to 250, not true"),
        ("stt.endpointing_ms=9", "should be a whole number from 10 to 5000 or false, not 9"),
        ("stt.endpointing_ms=0", "should be a whole number from 10 to 5000 or false, not 0"),
        ("stt.endpointing_ms=true", "should be a whole number from 10 to 5000 or false, not true"),
        ("stt.utterance_end_ms=999", "should be a whole number of at least 1000 or null, not 999"),
        ("stt.model=''", 'should be non-empty text, not ""'),
        ("stt.model=3", "should be non-empty text, not 3"),
        ("stt.keyterms=a", 'should be a list, not "a"'),
        ("stt.vad_events=1", "should be true or false, not 1"),
        (
            "stt.base_url=example.org",
            'should be text like wss://host.example or null, not "example.org"',
        ),
        ("stt.key_env=my key", 'should be text like DEEPGRAM_API_KEY, not "my key"'),
        ("llm.temperature=2.1", "should be a number from 0 to 2 or null, not 2.1"),
        ("llm.temperature=.nan", "should be a number from 0 to 2 or null, not NaN"),
        ("llm.max_tokens=0", "should be a whole number of at least 1, not 0"),
        ("llm.max_tokens_name=x", 'should be max_completion_tokens or max_tokens, not "x"'),
        ("tts.sample_rate=44100", "should be 8000, 16000, 24000, 32000 or 48000, not 44100"),
        ("tts.flushes_per_minute=21", "should be a whole number from 1 to 20, not 21"),
        (
            "tts.characters_per_minute=2401",
            "should be a whole number from 100 to 2400, not 2401",
        ),
        ("tts.speed=1.6", "should be a number from 0.7 to 1.5 or null, not 1.6"),
        ("interrupt.policy=on", "should be off, headphones or speakers, not true"),
        ("standin.engine=x", 'should be scripted or local, not "x"'),
    ],
)
def test_a_value_of_the_wrong_kind_or_beyond_a_limit_is_refused(refused, setting, complaint):
    key = setting.partition("=")[0]
    assert refused("default", setting) == f"--set {key}: {key} {complaint}"


def test_a_tag_is_no_longer_than_the_service_takes(load, refused):
    assert load("default", f"stt.tag={'x' * 128}").stt.tag == "x" * 128
    assert refused("default", f"stt.tag={'x' * 129}") == (
        f'--set stt.tag: stt.tag should be text of at most 128 characters or null, not "{"x" * 38}…'
    )


def test_a_section_without_keys_is_refused(refused, write):
    write("a.yaml", "stt:\n")
    assert refused("a.yaml") == "a.yaml:1: stt should be a mapping of keys, not null"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("stt: {interim_results: false}", "stt.utterance_end_ms needs interim_results: true"),
        ("stt: {keyterms: [a], model: nova-2}", "stt.keyterms need nova-3, not nova-2"),
        ("stt: {keyterms: [%s]}" % ("x" * 2001), "stt.keyterms are more than about 500 tokens"),
        (
            "tts: {speed: 1, model: aura-2-lara-de}",
            "tts.speed is for Aura-2 in en or es, not aura-2-lara-de",
        ),
        (
            "tts: {speed: 0.8, model: aura-2-celeste-es}",
            "tts.speed is at least 0.9 for a voice in es",
        ),
        ("standin: {engine: scripted}", "standin.engine: scripted needs a script"),
        ("standin: {script: demo}", "standin.engine is missing"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(refused, write, text, complaint):
    write("a.yaml", f"extends: default\n{text}")
    assert refused("a.yaml") == f"a.yaml:2: {complaint}"


def test_of_keys_that_contradict_each_other_the_one_set_last_is_to_blame(refused, write):
    write("a.yaml", "extends: classic\nllm: {max_tokens: 5}\nstt:\n  utterance_end_ms: 1000")
    assert refused("a.yaml") == "a.yaml:4: stt.utterance_end_ms needs interim_results: true"
    assert refused("default", VOICECLI_STT__INTERIM_RESULTS="false") == (
        "VOICECLI_STT__INTERIM_RESULTS: stt.utterance_end_ms needs interim_results: true"
    )


def test_all_that_is_wrong_is_told_at_once_in_the_order_of_lines(refused, write):
    write("a.yaml", "audio: {sample_rates: 3}\nllm: {max_tokens: 0}\nstt:\n  keyterms: [a, 3]")
    assert refused("a.yaml").splitlines() == [
        "a.yaml:1: unknown key audio.sample_rates. Did you mean audio.sample_rate?",
        "a.yaml:2: llm.max_tokens should be a whole number of at least 1, not 0.",
        "a.yaml:4: stt.keyterms[1] should be non-empty text, not 3",
    ]


def test_a_key_that_is_set_twice_is_refused(refused, write):
    write("a.yaml", "stt:\n  model: nova-3\n  model: nova-2\n")
    assert refused("a.yaml") == "a.yaml:3: stt.model is set twice, first at a.yaml:2"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: [b\nc: d\n", "a.yaml:2: expected ',' or ']', but got ':'"),
        ("stt:\n\tmodel: x", "a.yaml:2: found character '\\t' that cannot start any token"),
        ("stt: {}\nx: \x01", "a.yaml:2: this character is not allowed in YAML"),
        ("- a", "a.yaml:1: a profile must be a mapping of sections"),
        ("a: 1\n---\nb: 1", "a.yaml:2: but found another document"),
        ("stt: &a {}\ntts: *a", "a.yaml:2: tts is an alias; profiles must not use aliases"),
        ("stt: &a\n  extra: *a", "a.yaml:2: stt.extra is an alias; profiles must not use aliases"),
        ("stt:\n  tag: !!python/name:os.system x", "a.yaml:2: stt.tag is not a plain YAML value"),
        (
            "\n[a]: b",
            "a.yaml:2: unknown key ?. Known here: "
            + ", ".join(one.name for one in fields(Profile))
            + ".",
        ),
    ],
)
def test_what_is_no_plain_yaml_is_refused_with_its_line(refused, write, text, complaint):
    write("a.yaml", text)
    assert refused("a.yaml") == complaint


def test_a_file_that_is_no_text_is_refused(refused, tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"stt: \xff")
    assert refused("a.yaml") == "a.yaml: this is not UTF-8 text"


SECRET = "Put it into the environment or into .env, and the variable's name into key_env."


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("api_key: x", "stt.api_key"),
        ("token: x", "stt.token"),
        ("client-secret: x", "stt.client-secret"),
        ("tag: sk-proj-abcdefghij", "stt.tag"),
        ("key_env: 0123456789abcdef0123456789abcdef01234567", "stt.key_env"),
        ("base_url: wss://me:word@host.example", "stt.base_url"),
        ("extra: {authorization: x}", "stt.extra.authorization"),
        ("keyterms: [sk-abcdefghijk]", "stt.keyterms[0]"),
    ],
)
def test_secrets_are_refused_and_not_repeated(refused, write, line, key):
    write("a.yaml", f"stt:\n  {line}")
    message = refused("a.yaml")
    assert (
        message
        == f"a.yaml:2: {key} looks like a secret; profiles must not contain secrets. {SECRET}"
    )


def test_secrets_are_refused_in_options_and_variables_too(refused):
    option = refused("default", "stt.tag=sk-abcdefghijklmn")
    assert option.startswith("--set stt.tag: stt.tag looks like a secret")
    assert "sk-" not in option
    variable = refused("default", VOICECLI_LLM__API_KEY="anything")
    assert variable.startswith("VOICECLI_LLM__API_KEY: llm.api_key looks like a secret")
    assert "anything" not in variable


def test_keys_that_only_sound_like_secrets_are_none(load):
    llm = load("default", "llm.extra.prompt_cache_key=voice", "llm.max_tokens=50").llm
    assert (llm.extra, llm.max_tokens) == ({"prompt_cache_key": "voice"}, 50)


def test_an_option_or_a_variable_is_named_when_it_is_wrong(refused):
    assert refused("default", VOICECLI_STT__ENDPOINTNG_MS="300") == (
        "VOICECLI_STT__ENDPOINTNG_MS: unknown key stt.endpointng_ms. "
        "Did you mean stt.endpointing_ms?"
    )
    assert refused("default", "stt.keyterms=[a") == (
        "--set stt.keyterms: expected ',' or ']', but got '<stream end>'"
    )
    assert refused("default", "model=x") == ("--set model: is not of the form SECTION.KEY=VALUE")
    assert refused("default", "stt.model") == (
        "--set stt.model: is not of the form SECTION.KEY=VALUE"
    )


def test_what_a_terminal_would_obey_is_escaped(refused, write):
    write("a.yaml", '"\\e[31m": 1')
    assert refused("a.yaml").startswith("a.yaml:1: unknown key \\x1b[31m. Known here: ")
