"""``voicecli probe`` as its users meet it: what it prints, what it refuses, how it ends."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from voicecli.cli.app import run
from voicecli.probe.results import METRICS

SCRIPT: dict[str, Any] = {
    "llm": {"says": ["The capital of Australia is Canberra."]},
    "tts": {"ttfb_ms": 120},
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DEEPGRAM_API_KEY", "OPENAI_API_KEY", "DEEPGRAM_BASE_URL", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


class Shown:
    """What a run printed, and how it ended."""

    def __init__(self, code: int, captured: pytest.CaptureResult[str]) -> None:
        self.code = code
        self.out, self.err = captured.out, captured.err

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


class Probe:
    """Runs the command on scripted stand-ins, in virtual time."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._file = folder / "script.yaml"
        self._capsys = capsys
        self.script()

    def script(self, **changes: Any) -> None:
        self._file.write_text(yaml.safe_dump(SCRIPT | changes), encoding="utf-8")

    def __call__(self, *arguments: str) -> Shown:
        settings = ["--set", f"standin.script={self._file}", "--set", "audio.vad=energy"]
        profile = ["--profile", "scripted", "--fast", *settings]
        code = run(["--no-env", "probe", *profile, *arguments])
        return Shown(code, self._capsys.readouterr())


@pytest.fixture
def probe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Probe:
    return Probe(tmp_path, capsys)


QUICK = ("-n", "1", "--warmup", "0")

# ── what it prints ───────────────────────────────────────────────────────────


def test_text_has_every_part(probe: Probe) -> None:
    shown = probe("-n", "20")

    assert (shown.code, shown.err) == (0, "")
    for part in (
        "probe of the profile scripted: 20 readings, 2 to warm up, 3 cold",
        "llm: this machine: there is no network in between.",
        "cold.llm.ttft ",
        "Finalize answered 23 of 23 times",
        "total (mouth_to_ear) ",
        "  200  200  200  pass  P95",  # 0.2 s to the microsecond
        "expected mouth-to-ear: P50 ",
        "TTS: waiting ",
        "cost: nothing",
    ):
        assert part in shown.out
    assert "llm.ttft               20    200    200    200     200    200\n" in shown.out
    assert "network, ms" not in shown.out  # in virtual time all phases take 0 ms


def test_json_is_all_there_is_on_standard_output(probe: Probe) -> None:
    shown = probe(*QUICK, "--json")

    data = shown.data
    assert (shown.code, shown.err) == (0, "")
    assert (data["schema_version"], data["kind"]) == (1, "probe")
    ttft = data["metrics"]["llm.ttft"]
    assert (ttft["n"], ttft["p50_ms"], ttft["p95_ms"], ttft["values_ms"]) == (
        1, pytest.approx(200), None, [pytest.approx(200)],
    )  # fmt: skip
    assert set(data["metrics"]) <= set(METRICS)
    assert data["prediction"]["p95_ms"] is None
    assert sum(data["prediction"]["mean_stages_ms"].values()) == pytest.approx(
        data["prediction"]["mean_ms"], abs=0.01
    )
    assert data["services"]["stt"]["request_ids"]
    assert data["environment"]["clock"] == "virtual"
    assert data["measurement"] == {"reliable": True, "reasons": []}


def test_csv_has_a_line_per_metric(probe: Probe) -> None:
    shown = probe("llm", "-n", "2", "--csv")

    rows = {row["metric"]: row for row in csv.DictReader(io.StringIO(shown.out))}
    assert rows["llm.ttft"] == {
        "metric": "llm.ttft", "unit": "ms", "n": "2", "min": "200.000", "p50": "200.000",
        "p90": "200.000", "p95": "", "max": "200.000", "outliers": "0",
    }  # fmt: skip
    assert rows["llm.rate"]["unit"] == "tokens/s"
    assert not any(name.startswith(("stt", "tts", "mouth")) for name in rows)


def test_markdown_has_tables(probe: Probe) -> None:
    shown = probe("tts", *QUICK, "--markdown")

    assert "| ms | n | min | P50 | P90 | P95 | max | outliers |\n| --- | ---: |" in shown.out
    assert "| tts.ttfa | 1 | 120 | 120 | 120 | n < 20 | 120 |  |" in shown.out


def test_scripted_transcripts_have_no_word_error_rate(probe: Probe) -> None:
    assert "word error rate not applicable (the stand-in's transcripts are scripted)" in (
        probe("stt", *QUICK).out
    )
    assert probe("stt", *QUICK, "--json").data["counts"]["stt.wer"] is None


def test_one_service_alone_predicts_nothing(probe: Probe) -> None:
    data = probe("stt", *QUICK, "--json").data

    assert data["prediction"] is None
    assert {one["name"]: one["met"] for one in data["budgets"]} == {
        "stt": True, "llm": None, "tts": None, "total": None,
    }  # fmt: skip


def test_the_change_that_would_help_most_is_named(probe: Probe) -> None:
    probe.script(llm={"ttft_ms": 900, "says": SCRIPT["llm"]["says"]})
    data = probe("-n", "20", "--json").data

    lever = data["prediction"]["biggest_lever"]
    assert lever["change"] == "an LLM that keeps its budget (llm.ttft 200 ms)"
    assert lever["saves_ms"] == pytest.approx(700, abs=1)


# ── what is asked of it ──────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("slo", "code", "why"),
    [
        ("llm.ttft.p50<250", 0, ""),
        ("llm.ttft.p50<150", 1, "llm.ttft.p50<150 (llm.ttft.p50 is 200 ms (n = 1))"),
        ("llm.ttft.p95<250", 1, "llm.ttft.p95 is withheld: n is 1, 20 needed"),
        ("tts.ttfa.p50<400", 1, "tts.ttfa was never measured"),
        ("llm.rate.p50>60", 0, ""),
        ("llm.errors==0", 0, ""),
        ("llm.stalls>=1", 1, "llm.stalls is 0"),
        ("cold.llm.ttft.max<=201", 0, ""),
        ("net.llm.tcp.p50<5", 0, ""),
    ],
)
def test_an_objective_decides_the_exit_code(probe: Probe, slo: str, code: int, why: str) -> None:
    shown = probe("llm", *QUICK, "--slo", slo)

    assert shown.code == code
    assert shown.err.startswith("error: not as expected: ") is (code == 1)
    assert why in shown.err
    assert f"{'✗' if code else '✓'} {slo}: " in shown.out


def test_mouth_to_ear_can_be_an_objective(probe: Probe) -> None:
    assert probe("-n", "20", "--slo", "mouth_to_ear.p95<3000").code == 0
    assert probe("-n", "20", "--slo", "mouth_to_ear.p95<300").code == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--slo", "tts.tfa.p95<1"], "unknown metric tts.tfa.p95. Did you mean tts.ttfa.p95"),
        (["--json", "--csv"], "--json and --csv contradict each other"),
        (["--watch", "5", "--json"], "--watch and --json contradict each other"),
        (["--compare", "nowhere.json"], "nowhere.json cannot be read"),
        (["--save", "no/folder/x.json"], "there is no folder"),
        (["--concurrency", "11"], "--concurrency"),
        (["--set", "stt.base_url=http://api.example"], "keys go out over TLS only"),
        (["everything"], "everything"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_begins(
    probe: Probe, arguments: list[str], said: str
) -> None:
    shown = probe(*arguments)

    assert shown.code == 2
    assert said in shown.err
    assert shown.out == ""


def test_virtual_time_is_for_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--no-env", "probe", "--fast"]) == 2
    assert "--fast runs in virtual time" in capsys.readouterr().err


# ── one probe and another ────────────────────────────────────────────────────


def test_nothing_changed(probe: Probe) -> None:
    assert probe("llm", "-n", "6", "--save", "before.json").code == 0
    shown = probe("llm", "-n", "6", "--compare", "before.json")

    assert shown.code == 0
    assert "none of 5 statistics compared changed beyond noise." in shown.out


def test_what_got_worse_is_named(probe: Probe) -> None:
    probe("llm", "-n", "6", "--save", "before.json")
    probe.script(llm={"ttft_ms": 300, "says": SCRIPT["llm"]["says"]})
    shown = probe("llm", "-n", "6", "--compare", "before.json")

    assert shown.code == 1
    assert shown.err == "error: worse than before: llm.ttft.p50, llm.total.p50.\n"
    assert "llm.ttft.p50" in shown.out


def test_what_got_better_is_no_failure(probe: Probe) -> None:
    probe("llm", "-n", "6", "--save", "before.json")
    probe.script(llm={"ttft_ms": 100, "says": SCRIPT["llm"]["says"]})
    shown = probe("llm", "-n", "6", "--compare", "before.json", "--json")

    changed = [one for one in shown.data["comparison"] if one["beyond_noise"]]
    assert shown.code == 0
    assert {one["metric"]: one["worse"] for one in changed} == {
        "llm.ttft": False, "llm.total": False,
    }  # fmt: skip


def test_what_is_not_comparable_is_refused(probe: Probe) -> None:
    probe("llm", *QUICK, "--save", "before.json")
    other = probe("llm", *QUICK, "--set", "llm.model=gpt-4.1-mini", "--compare", "before.json")

    assert other.code == 2
    assert "llm.model was 'gpt-4o-mini', and is 'gpt-4.1-mini'" in other.err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a saved probe"),
        ('{"kind": "probe", "schema_version": 0}', "was saved by another voicecli (schema 0)"),
    ],
)
def test_a_file_that_is_not_a_saved_probe_is_refused(
    probe: Probe, tmp_path: Path, content: str, said: str
) -> None:
    (tmp_path / "before.json").write_text(content)
    shown = probe("--compare", "before.json")

    assert shown.code == 2
    assert said in shown.err


# ── refusals ─────────────────────────────────────────────────────────────────


def refused(probe: Probe, service: str, *settings: str) -> Shown:
    """A probe in which one service is refused: a line of it, and the others are probed."""
    options = [part for setting in settings for part in ("--set", setting)]
    shown = probe(*QUICK, "--json", *options)
    data = shown.data
    assert shown.err.startswith(f"error: {service.upper()}: ")
    assert shown.err.count("\n") == 1
    assert data["services"][service]["exit_code"] == shown.code
    assert data["services"][service]["readings"] == 0
    assert data["services"][service]["errors"]
    for other in {"stt", "llm", "tts"} - {service}:
        assert data["services"][other]["readings"] > 0
        assert data["services"][other]["errors"] == []
    return shown


SERVICES = pytest.mark.parametrize("service", ["stt", "llm", "tts"])


@SERVICES
def test_no_key(probe: Probe, service: str) -> None:
    shown = refused(probe, service, f"{service}.base_url=https://nowhere.invalid")

    name = "OPENAI_API_KEY" if service == "llm" else "DEEPGRAM_API_KEY"
    assert shown.code == 3
    assert f"there is no key for nowhere.invalid. Set {name} in the environment" in shown.err


@SERVICES
@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (401, 3, "the key is refused"),
        (402, 5, "no credit left"),
        (429, 5, "too many "),
        (503, 5, "failed"),
    ],
)
def test_a_status(probe: Probe, service: str, status: int, code: int, said: str) -> None:
    probe.script(faults=[{"service": service, "kind": "refuse", "status": status, "on": "every"}])
    shown = refused(probe, service)

    assert shown.code == code
    assert said in shown.err
    assert f"(HTTP {status}" in shown.err


@pytest.mark.parametrize(
    ("service", "code", "said"),
    [
        ("stt", 3, "the key may not use this model, or no model has this name"),
        ("llm", 5, "the model nonsense does not exist (any more)"),
        ("tts", 5, "No such model/version combination found"),
    ],
)
def test_a_wrong_model(probe: Probe, service: str, code: int, said: str) -> None:
    shown = refused(probe, service, f"{service}.model=nonsense")

    assert shown.code == code
    assert said in shown.err


@SERVICES
@pytest.mark.usefixtures("keys")
def test_no_route(probe: Probe, service: str) -> None:
    shown = refused(probe, service, f"{service}.base_url=https://nowhere.invalid")

    assert shown.code == 5
    assert "nowhere.invalid" in shown.err
    assert "Check the network" in shown.err


def test_a_refused_key_outranks_a_lost_service_and_both_are_reported(probe: Probe) -> None:
    faults = [
        {"service": "stt", "kind": "refuse", "status": 429, "on": "every"},
        {"service": "tts", "kind": "refuse", "status": 401, "on": "every"},
    ]
    probe.script(faults=faults)
    shown = probe(*QUICK, "--slo", "llm.ttft.p50<1")

    assert shown.code == 3
    assert [line.partition(" (")[0] for line in shown.err.splitlines()] == [
        "error: STT: too many connections at once",
        "error: TTS: the key is refused",
        "error: not as expected: llm.ttft.p50<1",
    ]


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPGRAM_API_KEY", "a-key")
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")


# ── watching ─────────────────────────────────────────────────────────────────


def test_watching_prints_each_reading_and_ends_with_the_report(probe: Probe) -> None:
    shown = probe("--watch", "4", "-n", "3")

    lines = shown.out.splitlines()
    assert shown.code == 0
    assert "00:00 llm.ttft 200 ms" in lines[:20]
    assert sum("llm.ttft 200 ms" in line for line in lines) == 3
    assert "expected mouth-to-ear: P50 " in shown.out
    assert "word error rate not applicable" in shown.out


# ── models side by side ──────────────────────────────────────────────────────

MODELS: dict[str, Any] = {
    **SCRIPT["llm"],
    "models": {
        "gpt-fast": {"ttft_ms": 100, "says": [*SCRIPT["llm"]["says"]]},
        "gpt-slow": {"ttft_ms": 900, "token_ms": 40, "says": [*SCRIPT["llm"]["says"]]},
    },
}


def test_models_are_a_row_each_and_compared_with_the_first(probe: Probe) -> None:
    probe.script(llm=MODELS)
    shown = probe("llm", "-n", "6", "--models", "gpt-4o-mini,gpt-fast,gpt-slow")

    assert (shown.code, shown.err) == (0, "")
    for part in (
        "gpt-4o-mini, gpt-fast, gpt-slow with the profile scripted: 6 rounds, 2 to warm up",
        "gpt-fast     6           100  n < 20              75",
        "gpt-slow     6           900  n < 20             200",
        "gpt-fast against gpt-4o-mini ",
        "llm.ttft.p50 ",
        "-100.0 to -100.0 ms  better",
        "gpt-fast: 1 of 3 statistics differ beyond noise.",
        "gpt-slow: 3 of 3 statistics differ beyond noise.",
        "cost: nothing",
    ):
        assert part in shown.out


def test_models_as_json(probe: Probe) -> None:
    probe.script(llm=MODELS)
    luna = ("--set", "llm.extra={reasoning_effort: none}")
    shown = probe("llm", *QUICK, *luna, "--models", "gpt-6-luna,gpt-4o,nonsense", "--json")

    data = shown.data
    assert (data["schema_version"], data["kind"]) == (1, "model comparison")
    assert [one["model"] for one in data["models"]] == ["gpt-6-luna", "gpt-4o", "nonsense"]
    assert [one["settings"]["extra"] for one in data["models"]] == [
        {"reasoning_effort": "none"}, {}, {"reasoning_effort": "none"},
    ]  # fmt: skip
    assert [one["service"]["readings"] for one in data["models"]] == [1, 1, 0]
    assert data["models"][0]["metrics"]["llm.ttft"]["p50_ms"] == pytest.approx(200)
    assert data["models"][0]["price_per_million_tokens"] == {"prompt": 0.0, "reply": 0.0}
    assert shown.code == data["models"][2]["service"]["exit_code"] == 5
    assert "the model nonsense does not exist (any more)" in shown.err


def test_models_as_csv_and_markdown(probe: Probe) -> None:
    probe.script(llm=MODELS)
    models = ("--models", "gpt-4o-mini,gpt-fast")
    rows = list(csv.DictReader(io.StringIO(probe("llm", *QUICK, *models, "--csv").out)))
    took = {row["model"]: row["p50"] for row in rows if row["metric"] == "llm.ttft"}
    assert took == {"gpt-4o-mini": "200.000", "gpt-fast": "100.000"}
    markdown = probe("llm", "-n", "5", *models, "--markdown").out
    assert "| gpt-fast | 5 | 100 | n < 20 | 75 |" in markdown
    assert "| llm.ttft.p50 | 200.0 | 100.0 |" in markdown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--models", "a,b"], "--models compares LLMs"),
        (["llm", "--models", "a"], "--models should be two or more different names, not 'a'"),
        (["llm", "--models", "a,b", "--watch", "5"], "--models and --watch contradict each other"),
        (["llm", "--models", "a,b", "--save", "x"], "--models and --save contradict each other"),
        (["llm", "--models", "a,b", "--concurrency", "2"], "--models and --concurrency"),
    ],
)
def test_what_makes_no_sense_with_models_is_refused(
    probe: Probe, arguments: list[str], said: str
) -> None:
    shown = probe(*arguments)

    assert (shown.code, shown.out) == (2, "")
    assert said in shown.err


def test_a_refused_key_is_the_end_of_every_model(probe: Probe) -> None:
    probe.script(
        llm=MODELS, faults=[{"service": "llm", "kind": "refuse", "status": 401, "on": "every"}]
    )
    shown = probe("llm", *QUICK, "--models", "gpt-4o-mini,gpt-fast")

    assert shown.code == 3
    assert shown.err.count("error: LLM: the key is refused (HTTP 401") == 2
    assert "gpt-fast: given up: LLM: the key is refused" in shown.out


def test_a_cost_that_is_not_known_is_announced_as_such(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9")
    code = run(["--no-env", "probe", "llm", *QUICK, "--models", "qwen,llama"])
    shown = Shown(code, capsys.readouterr())
    assert shown.code == 5
    assert shown.err.splitlines()[0] == "cost of this probe: not known"
    assert "cost: not known" in shown.out
