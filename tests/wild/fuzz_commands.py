"""Command lines, environments, output encodings, and the files that they name."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import soundfile
import yaml
from hypothesis import strategies as st

from tests.support.speech_like import alternate_speech
from tests.wild.fuzz_process import Ended, preload, run_forked
from tests.wild.fuzz_target import KEYS, TEXTS, Target, check_exit, json_values, mutated
from tests.wild.fuzz_target import mutated_bytes as mutate
from voicecli.audio.pcm import samples_of
from voicecli.cli.app import COMMANDS, load_command
from voicecli.profile.model import Profile, list_rows

UNBOUNDED = {"watch", "max_minutes", "count", "concurrency", "warmup"}
"""Options whose large values are honest work, not a hang."""

SETTINGS = tuple(row.key for row in list_rows(Profile()) if not row.is_section)

ENCODINGS = ("utf-8", "ascii", "latin-1", "cp1252", "cp437", "utf-16", "shift_jis", "koi8-r")

VARIABLES = """
NO_COLOR FORCE_COLOR TERM COLUMNS LINES LANG LC_ALL TZ PATH SHELL PULSE_SERVER
HOME TMPDIR XDG_CONFIG_HOME XDG_CACHE_HOME XDG_DATA_HOME PYTHONIOENCODING PYTHONUTF8
HTTP_PROXY HTTPS_PROXY ALL_PROXY WSS_PROXY NO_PROXY https_proxy all_proxy no_proxy
SSL_CERT_FILE SSL_CERT_DIR SSLKEYLOGFILE REQUESTS_CA_BUNDLE
OPENAI_BASE_URL OPENAI_API_KEY OPENAI_ORG_ID OPENAI_LOG DEEPGRAM_BASE_URL DEEPGRAM_API_KEY
VOICECLI_DEBUG VOICECLI_MODELS VOICECLI_ VOICECLI_X__Y _VOICECLI_COMPLETE
PIP_INDEX_URL PIP_CONFIG_FILE PIP_CERT TYPER_USE_RICH _TYPER_STANDARD_TRACEBACK
"""

MADE = ("speech.wav", "empty.wav", "text.wav", "folder", "session", "probe.json", "own.yaml")
PATHS = (*MADE, "no/such", "/dev/null", ".", "", "session/timeline.jsonl", "~", "é\udcff")

URLS = (
    *("", "socks5://127.0.0.1:9", "http://127.0.0.1:9", "127.0.0.1:9", "http://", "//x", "x:y:z"),
    *("http://a b", "http://[::1", "http://[::1]:9", "ftp://127.0.0.1:9", "http://u:p@127.0.0.1:9"),
    *("ws://127.0.0.1:9", "wss://127.0.0.1:9", "http://127.0.0.1:99999", "http://127.0.0.1:-1"),
    *("http://127.0.0.1:9/a?b#c", "unix:///tmp/x", "http://é.invalid", "http://.", "*", ","),
)


def is_passable(text: str) -> bool:
    """Whether the system can pass ``text`` to a program."""
    try:
        return b"\0" not in os.fsencode(text) and len(text) < 100_000
    except UnicodeEncodeError:
        return False


words = (st.sampled_from(TEXTS) | st.text(max_size=8) | st.sampled_from(PATHS)).filter(is_passable)
urls = st.sampled_from(URLS) | words
yaml_texts = (
    words | json_values.map(json.dumps) | st.sampled_from(["off", "on", "auto", "null", "1", "0.5"])
).filter(is_passable)
modest = st.sampled_from(["0", "1", "2", "3", "-1", "1.5", "nan", "inf", "-inf", "", "x", "1e999"])


@dataclass
class CommandLine:
    """One run of the program; ``files``: the contents of files in its folder, by name."""

    arguments: Sequence[str]
    variables: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes = b""
    encoding: str = "utf-8"
    closed: Sequence[int] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)

    def run(self) -> Ended:
        """Run it in a folder of its own."""
        preload()
        with TemporaryDirectory(prefix="fuzz-") as name:
            folder = Path(name)
            make_files(folder)
            for file, content in self.files.items():
                (folder / file).write_bytes(content)
            usual = {
                "PATH": "/usr/bin:/bin",
                "HOME": name,
                "VOICECLI_MODELS": f"{name}/models",
                "VOICECLI_AUDIO__VAD": "energy",
                "DEEPGRAM_BASE_URL": "ws://127.0.0.1:1",
                "OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
                "PIP_INDEX_URL": "http://127.0.0.1:1/simple",
            }
            return run_forked(
                self.arguments,
                environ=usual | KEYS | self.variables,
                folder=folder,
                stdin=self.stdin,
                encoding=self.encoding,
                closed=self.closed,
            )


def check_command(line: CommandLine) -> None:
    """Check how a run ends, and what it prints."""
    ended = line.run()
    assert not ended.hung, f"hangs: {line}\n{ended.err[-6000:]}"
    debugging = "-vv" in line.arguments or "VOICECLI_DEBUG" in line.variables
    check_exit(ended.code, ended.out + ended.err, debugging=debugging)


@cache
def _make_parts() -> dict[str, bytes]:
    """Contents of the files that every run finds: a recording, a kept session, a saved probe."""
    with TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        pcm, _ = alternate_speech(0.3, 0.8, 0.6)
        soundfile.write(folder / "speech.wav", samples_of(pcm), 16_000, subtype="PCM_16")
        environ = {"PATH": "/usr/bin", "HOME": name, "VOICECLI_AUDIO__VAD": "energy"}
        scripted = ("--profile", "scripted", "--fast")
        for arguments in (
            ("replay", "speech.wav", *scripted, "--out", "session"),
            ("probe", *scripted, "-n", "2", "--warmup", "0", "--save", "probe.json"),
        ):
            preload()
            ended = run_forked(arguments, environ=environ, folder=folder)
            assert ended.code == 0, ended
        files = [file for file in folder.rglob("*") if file.is_file()]
        return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def make_files(folder: Path) -> None:
    """Make the files that the strategies name."""
    (folder / "folder").mkdir()
    (folder / "session").mkdir()
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("This is no recording.")
    (folder / "own.yaml").write_text("extends: scripted\nllm: {model: my-model}\n")
    for name, content in _make_parts().items():
        (folder / name).write_bytes(content)


# ── command lines ────────────────────────────────────────────────────────────


@cache
def list_commands() -> list[tuple[tuple[str, ...], Any]]:
    """List every command with its words: ("devices", "test") and so on."""
    found = []
    for name in COMMANDS:
        command = load_command(name)
        if hasattr(command, "commands"):
            found += [((name, sub), one) for sub, one in command.commands.items()]
        else:
            found.append(((name,), command))
    return [(words, command) for words, command in found if words[0] not in ("devices",)]


@st.composite
def setting_values(draw: st.DrawFn) -> str:
    key = draw(st.sampled_from(SETTINGS) | words)
    return f"{key}={draw(yaml_texts)}"


@st.composite
def option(draw: st.DrawFn, parameter: Any) -> list[str]:
    """One option or argument of a command, with a value that may fit."""
    named = parameter.param_type_name == "option"
    head = [draw(st.sampled_from(parameter.opts))] if named else []
    if named and parameter.is_flag:
        return head
    if parameter.name in ("overrides",):
        return [*head, draw(setting_values())]
    if parameter.name == "profile":
        shipped = ["scripted", "default", "duplex", "classic", "lowband", "own.yaml", "local"]
        return [*head, draw(st.sampled_from(shipped) | words)]
    if parameter.name in UNBOUNDED or "port" in parameter.name:
        return [*head, draw(modest)]
    if parameter.name in ("expect", "slo"):
        metric = st.sampled_from(["mouth_to_ear.p95", "tts.ttfa.p95", "turns", "llm.ttft.p50"])
        signs = st.sampled_from(["<", ">", "<=", "==", "=", "~"])
        parts = st.tuples(metric | words, signs, words | modest)
        return [*head, draw(parts.map("".join))]
    if choices := getattr(parameter.type, "choices", None):
        return [*head, draw(st.sampled_from([str(one) for one in choices]) | words)]
    if parameter.name in ("out", "save"):
        return [*head, draw(st.sampled_from([*PATHS, "/dev/full", "/dev/full/x", "/proc/x"]))]
    return [*head, draw(st.sampled_from(PATHS) | words)]


@st.composite
def arguments(draw: st.DrawFn) -> list[str]:
    """A command with options of its own, of others, and stray words."""
    names, command = draw(st.sampled_from(list_commands()))
    known = [option(one) for one in command.params] or [words.map(lambda word: [word])]
    given = draw(st.lists(st.one_of(known), max_size=4))
    parts = [word for one in given for word in one]
    required = [one for one in command.params if one.required]
    if required and draw(st.integers(0, 9)):
        parts = [*draw(option(required[0])), *parts]
    if draw(st.integers(0, 9)) == 0:
        parts.insert(draw(st.integers(0, len(parts))), draw(words))
    fast = ["--profile", "scripted", "--fast"]
    if names[0] in ("labels", "replay"):  # to read every file of the machine is honest work
        parts = ["folder" if one in ("/", "..", "~") else one for one in parts]
    match names[0]:
        case "serve":
            parts.append("--attached")
        case "talk":
            parts += ["--text", "--profile", "scripted"]
        case "replay":
            parts += fast
        case "probe":
            parts = [one for one in parts if not one.startswith("--watch")]
            parts += [*fast, "-n", "1", "--warmup", "0"]
    before = draw(
        st.lists(st.sampled_from(["-v", "-vv", "--no-env", "--env-file=own.yaml"]), max_size=1)
    )
    return [*before, *names, *parts]


@st.composite
def environments(draw: st.DrawFn) -> dict[str, str]:
    """Variables that the program or its libraries read."""
    found = {}
    for name in draw(st.lists(st.sampled_from(VARIABLES.split()), max_size=3, unique=True)):
        found[name] = draw(urls if name.endswith(("URL", "PROXY", "proxy")) else words)
    for key in draw(st.lists(st.sampled_from(SETTINGS), max_size=2, unique=True)):
        found[f"VOICECLI_{key.upper().replace('.', '__')}"] = draw(yaml_texts)
    return found


command_lines = st.builds(
    CommandLine,
    arguments(),
    variables=environments() | st.just({}),
    stdin=st.sampled_from([b"", b"Hi\n", b"\xff\xfe\n\n", b"a" * 9000, b"\x00\x1b[A\r\n"]),
    encoding=st.sampled_from(ENCODINGS),
    closed=st.just(()) | st.just(()) | st.sampled_from([(0,), (1,), (2,), (0, 1, 2)]),
)


# ── files ────────────────────────────────────────────────────────────────────


@st.composite
def accepted_settings(draw: st.DrawFn) -> CommandLine:
    """A whole conversation with a few settings at values that the profile's checks may allow."""
    numbers = st.sampled_from([0, 1, 2, 3, 5, 10, 50, 100, 1000, 8000, 24000, 100_000, 0.5, 0.001])
    values = numbers | st.sampled_from(["off", "auto", None, True, False, "en", "", [], ["a"]])
    keys = draw(st.lists(st.sampled_from(SETTINGS), min_size=1, max_size=3, unique=True))
    sets = [f"--set={key}={json.dumps(draw(values))}" for key in keys]
    command = draw(
        st.sampled_from([("replay", "speech.wav"), ("probe", "-n", "1", "--warmup", "0")])
    )
    return CommandLine([*command, "--profile", "scripted", "--fast", *sets])


@st.composite
def scripts(draw: st.DrawFn) -> CommandLine:
    """A conversation with a script of faults and odd latencies."""
    script = {
        "stt": {"hears": ["Hello.", "Again."], "final_ms": 100},
        "llm": {"says": ["One. Two."], "ttft_ms": {"p50": 100, "p95": 300}},
        "tts": {"speed": 4, "char_ms": 30},
        "faults": [{"service": "tts", "kind": "stall", "on": 1, "after_ms": 10}],
    }
    for _ in range(draw(st.integers(1, 2))):
        script = draw(mutated(script))
    text = yaml.safe_dump(script, allow_unicode=draw(st.booleans()))
    line = [
        "replay",
        "speech.wav",
        "--profile",
        "scripted",
        "--fast",
        "--set=standin.script=s.yaml",
    ]
    return CommandLine(line, files={"s.yaml": text.encode(errors="surrogatepass")})


odd_text = st.sampled_from([text.encode(errors="surrogatepass") for text in TEXTS]) | st.binary(
    max_size=4
)


@st.composite
def kept_files(draw: st.DrawFn) -> CommandLine:
    """A report of a damaged session, or a comparison with a damaged probe."""
    parts = _make_parts()
    match draw(st.sampled_from(["timeline", "compare", "predicted", "wav", "env"])):
        case "timeline":
            raw = _mutate_lines(draw, parts["session/timeline.jsonl"])
            asks = draw(st.sampled_from([["--json"], [], ["--expect", "turns>0"], ["--strict"]]))
            return CommandLine(["report", "session", *asks], files={"session/timeline.jsonl": raw})
        case "compare":
            fast = ["--profile", "scripted", "--fast", "-n", "1", "--warmup", "0"]
            raw = _mutate_json(draw, parts["probe.json"])
            line = ["probe", "llm", *fast, "--compare", "probe.json"]
            return CommandLine(line, files={"probe.json": raw})
        case "predicted":
            raw = _mutate_json(draw, parts["probe.json"])
            line = ["report", "session", "--predicted", "probe.json"]
            return CommandLine(line, files={"probe.json": raw})
        case "env":
            raw = draw(mutate(b"A=1\nexport B='x y'\n# c\nC=${A}\nOPENAI_API_KEY=\n", odd_text))
            return CommandLine(["profiles", "list"], files={".env": raw})
        case _:
            raw = draw(mutate(parts["session/conversation.wav"], st.binary(max_size=8)))
            return CommandLine(["report", "session"], files={"session/conversation.wav": raw})


def _mutate_json(draw: st.DrawFn, raw: bytes) -> bytes:
    if draw(st.integers(0, 3)) == 0:
        return draw(mutate(raw, odd_text))
    return json.dumps(draw(mutated(json.loads(raw)))).encode()


def _mutate_lines(draw: st.DrawFn, raw: bytes) -> bytes:
    if draw(st.integers(0, 3)) == 0:
        return draw(mutate(raw, odd_text))
    lines = raw.splitlines()
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["change", "change", "drop", "twice", "move"])):
            case "change":
                lines[at] = json.dumps(draw(mutated(json.loads(lines[at])))).encode()
            case "drop" if len(lines) > 1:
                del lines[at]
            case "move":
                lines.insert(draw(st.integers(0, len(lines) - 1)), lines.pop(at))
            case _:
                lines.insert(at, lines[at])
    return b"\n".join(lines) + b"\n"


TARGETS = (
    Target("command lines", command_lines, check_command, 20),
    Target("accepted settings", accepted_settings(), check_command, 8),
    Target("scripts", scripts(), check_command, 8),
    Target("kept files", kept_files(), check_command, 12),
)
