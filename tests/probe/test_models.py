"""Models compared: each asked as often as the others, in turn, at its own price."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from voicecli import clock
from voicecli.errors import UsageError
from voicecli.pipeline.wiring import open_services
from voicecli.probe.models import (
    Candidate,
    Comparison,
    compare_candidates,
    list_candidates,
    parse_models,
)
from voicecli.probe.run import Observer
from voicecli.probe.schedule import Plan
from voicecli.profile import load_profile
from voicecli.standin import serve
from voicecli.standin.engines import LlmEngine
from voicecli.standin.engines.scripted import create_scripted_engines
from voicecli.standin.script import Fault, Latency, LlmScript, ReplyScript, Script

SAYS = ("The capital of Australia is Canberra. It was chosen as a compromise.",)

SCRIPT = LlmScript(
    ttft=Latency(0.4),
    token=Latency(0.02),
    says=SAYS,
    models={
        "gpt-fast": ReplyScript(Latency(0.2), Latency(0.01), SAYS),
        "llama": ReplyScript(Latency(0.7), Latency(0.04), SAYS),
    },
)
NAMES = ("gpt-4o-mini", "gpt-fast", "llama")


class Watched(LlmEngine):
    """Notes which models are asked, and how many at once."""

    def __init__(self, inner: LlmEngine) -> None:
        self._inner = inner
        self._active = 0
        self.asked: list[str] = []
        self.most = 0

    async def reply(
        self, messages: list[dict[str, Any]], *, model: str, **options: Any
    ) -> AsyncGenerator[str, None]:
        self.asked.append(model)
        self._active += 1
        self.most = max(self.most, self._active)
        async for token in self._inner.reply(messages, model=model, **options):
            yield token
        self._active -= 1


def compare(
    *,
    names: Sequence[str] = NAMES,
    script: LlmScript = SCRIPT,
    faults: Sequence[Fault] = (),
    overrides: Sequence[str] = (),
    plan: Plan | None = None,
    observer: Observer | None = None,
) -> tuple[Mapping[str, Candidate], Watched]:
    """Compare models of a server that takes the place of OpenAI's, in virtual time."""
    engines = create_scripted_engines(Script(llm=script))
    watched = Watched(engines.llm)

    async def main() -> list[Candidate]:
        async with serve(replace(engines, llm=watched), faults=faults) as endpoints:
            profile = load_profile(
                "default", overrides=[f"llm.base_url={endpoints.openai}", *overrides], environ={}
            )
            candidates = list_candidates(profile, names)
            async with open_services(profile, {}) as services:
                usual = Plan(count=20, warmup=1)
                await Comparison(candidates, services, plan or usual, observer).run()
            return candidates

    return {one.name: one for one in clock.run(main(), virtual=True)}, watched


def test_each_model_has_the_latencies_of_the_script() -> None:
    found, _ = compare()
    for name, ttft, token in zip(NAMES, (0.4, 0.2, 0.7), (0.02, 0.01, 0.04), strict=True):
        values = found[name].results.values()
        assert values["llm.ttft"] == pytest.approx([ttft] * 20, abs=0.005)
        assert values["llm.clause"] == pytest.approx([6 * token] * 20, abs=0.005)
        assert values["llm.rate"] == pytest.approx([1 / token] * 20, rel=0.01)


def test_models_are_asked_in_turn_and_each_as_often_first() -> None:
    _, watched = compare(plan=Plan(count=6, warmup=0))
    rounds = [watched.asked[at : at + 3] for at in range(0, len(watched.asked), 3)]
    assert [sorted(one) for one in rounds] == [sorted(NAMES)] * 6
    assert Counter(one[0] for one in rounds) == dict.fromkeys(NAMES, 2)
    assert watched.most == 1


def test_a_slow_spell_is_no_difference_between_models() -> None:
    same = LlmScript(ttft=Latency(0.4), says=SAYS)
    spell = [Fault("llm", "stall", on=number, lasts=1.5) for number in range(31, 61)]
    names = ("gpt-a", "gpt-b")
    found, _ = compare(names=names, script=same, faults=spell, plan=Plan(count=40, warmup=0))
    for one in found.values():
        slow = [took for took in one.results.values()["llm.ttft"] if took > 1]
        assert len(slow) == 15
    changes = compare_candidates(*(found[name] for name in names))
    assert {change.metric for change in changes} == {"llm.ttft", "llm.clause", "llm.rate"}
    assert not any(change.beyond_noise for change in changes)


def test_what_distinguishes_two_models_is_found() -> None:
    found, _ = compare()
    changes = compare_candidates(found["gpt-4o-mini"], found["llama"])
    (ttft,) = [one for one in changes if (one.metric, one.statistic) == ("llm.ttft", "p50")]
    assert (ttft.before, ttft.after) == pytest.approx((400, 700), abs=5)
    assert ttft.worse
    assert all(one.worse for one in changes)


def test_each_model_is_priced_by_itself() -> None:
    found, _ = compare(names=("gpt-4o-mini", "gpt-fast", "gpt-6-luna"))
    mini, unknown, luna = found.values()
    usage = mini.results.count_usage()
    assert usage.prompt_tokens is not None
    assert usage.tokens is not None
    spent = (0.15 * usage.prompt_tokens + 0.60 * usage.tokens) / 1e6
    assert mini.turn_price == pytest.approx(spent / 20)
    assert luna.turn_price == pytest.approx(
        (0.10 * usage.prompt_tokens + 0.50 * usage.tokens) / 1e6 / 20
    )
    assert unknown.turn_price is None
    assert unknown.cost.lower_bound


def test_a_model_that_is_refused_does_not_stop_the_others() -> None:
    found, watched = compare(names=("gpt-4o-mini", "nonsense", "llama"), plan=Plan(count=6))
    assert [len(one.results.samples) for one in found.values()] == [6, 0, 6]
    assert "the model nonsense does not exist" in str(found["nonsense"].results.given_up["llm"])
    assert len(found["nonsense"].results.failures) == 1
    assert "nonsense" not in watched.asked


def test_a_round_in_which_one_failed_is_not_compared() -> None:
    refused = [Fault("llm", "refuse", on=number) for number in (3, 4)]  # and when it is repeated
    found, _ = compare(names=NAMES[:2], faults=refused, plan=Plan(count=6, warmup=0))
    first, second = found.values()
    assert (len(first.rounds), len(second.rounds)) == (6, 5)
    assert (len(first.results.failures), len(second.results.failures)) == (0, 1)
    assert not second.results.given_up
    assert len(compare_candidates(first, second)) == 3
    del first.rounds[5]
    assert compare_candidates(first, second) == []  # four rounds are too few


def test_progress_counts_every_sample_of_a_round() -> None:
    steps: list[int | None] = []
    taken: list[float] = []

    class Steps(Observer):
        def service_started(self, service: object, count: int | None) -> None:
            steps.append(count)

        def sample_taken(self, sample: Any) -> None:
            taken.append(sample.values["llm.ttft"])

    compare(plan=Plan(count=4, warmup=2), observer=Steps())
    assert steps == [12]
    assert len(taken) == 12


@pytest.mark.parametrize("text", ["", "a", "a,", ",", "a,b,a", "a, ,b"])
def test_two_different_names_are_needed(text: str) -> None:
    with pytest.raises(UsageError, match="--models should be two or more different names"):
        parse_models(text)


def test_names_may_have_spaces_around_them() -> None:
    assert parse_models(" gpt-4o-mini, llama ") == ["gpt-4o-mini", "llama"]
