"""A report in a browser: complete, quiet, readable on a screen, a phone and paper."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.support.browser import Browser, Page
from tests.support.timelines import Exchange
from voicecli.audio.recorder import CONVERSATION
from voicecli.cli.result import SessionResult
from voicecli.corpus.page import CorpusPage
from voicecli.corpus.tally import tally_results
from voicecli.corpus.unit import Unit, UnitResult
from voicecli.profile import load_profile
from voicecli.report.measurement import measure_session
from voicecli.timeline import Timeline

pytestmark = pytest.mark.browser

RATE = 16_000
WAITS = (250, 450, 700)
LOOKS: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"dark": True},
    "phone": {"width": 360},
    "print": {"paper": True, "width": 720},
}
EXCHANGES = [
    Exchange(text="What is the time?"),
    Exchange(number=2, start=5, commit=0.9, reason="default", ends="interrupted"),
    Exchange(number=3, start=10, text="<img src=x onerror=alert(1)>" + "W" * 200),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as started:
        yield started


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a session of three turns."""
    folder = tmp_path_factory.mktemp("session")
    sound = np.zeros((15 * RATE, 2), np.int16)
    for exchange in EXCHANGES:
        start, sounds = exchange.start, exchange.agent()[-2].at
        sound[round(start * RATE) : round((start + 1) * RATE), 0] = 9_000
        sound[round(sounds * RATE) : round((sounds + 1.5) * RATE), 1] = 9_000
    soundfile.write(folder / CONVERSATION, sound, RATE)
    timeline = Timeline(entry for one in EXCHANGES for entry in one.entries())
    predicted = {"p50_ms": 700.0, "p95_ms": None, "n": 5, "mean_stages_ms": {"llm.ttft": 650.0}}
    result = SessionResult(timeline, folder, load_profile("scripted"), predicted=predicted)
    file = folder / "report.html"
    result.write_page(file, "session", ["virtual time"])
    return file


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a sweep over ten recordings."""
    profile = load_profile("scripted")
    results = []
    for wait, number in product(WAITS, range(10)):
        overrides = (f"turn.commit_ms.complete={wait}",)
        exchange = Exchange(
            commit=wait / 1000, ends="taken back" if 100 * number > wait else "finished"
        )
        unit = Unit(
            recording=f"{number}.wav",
            profile="scripted",
            settings=profile.resolved(),
            overrides=overrides,
            digests={"recording": f"{number} {wait}"},
        )
        measured = measure_session(Timeline(exchange.entries()), profile, None)
        result = measured.build_result(environment={})
        results.append(UnitResult(unit=unit, result=result))
    page = CorpusPage(
        name="10 recordings",
        conditions=["virtual time"],
        tally=tally_results(results),
        find_folder=lambda unit: Path(unit.id),
    )
    file = tmp_path_factory.mktemp("corpus") / "report.html"
    file.write_text(page.render(lambda: results), encoding="utf-8")
    return file


@pytest.mark.parametrize("look", LOOKS)
def test_a_session(browser: Browser, report: Path, look: str) -> None:
    with browser.open(report, **LOOKS[look]) as page:
        check_page(page, report, "waveform", "stacks", "ecdf", "waterfall")
        sums = page.evaluate(
            "[...document.querySelectorAll('svg.waterfall')].map(e => [e.getBoundingClientRect()"
            ".width, [...e.querySelectorAll('rect.bar')].reduce((sum, bar) => sum + bar"
            ".getBoundingClientRect().width, 0)])"
        )
        assert len(sums) == 3
        for width, bars in sums:  # the stages sum to mouth-to-ear
            assert bars == pytest.approx(width, abs=1)


@pytest.mark.parametrize("look", LOOKS)
def test_a_corpus(browser: Browser, corpus: Path, look: str) -> None:
    with browser.open(corpus, **LOOKS[look]) as page:
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        check_page(page, corpus, "ecdf", "pareto", "small-bar")


def check_page(page: Page, file: Path, *pictures: str) -> None:
    """Every picture is there, nothing else is loaded, and all can be read.

    Nothing is beyond the page's edges, and text contrasts with the page by 4.5 to 1 or more.
    """
    assert page.requests == [file.resolve().as_uri()]
    assert page.complaints == []
    for kind in pictures:
        sizes = page.evaluate(
            f"[...document.querySelectorAll('svg.{kind}')]"
            ".map(e => [e.getBoundingClientRect().width, e.getBoundingClientRect().height])"
        )
        assert sizes, kind
        assert min(min(size) for size in sizes) > 9, kind
    width, room = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= room
    assert page.evaluate(OUTSIDE) == []
    assert page.evaluate(CONTRASTS) >= 4.5


def test_nothing_runs_but_our_script(browser: Browser, report: Path, tmp_path: Path) -> None:
    """Were escaping to fail, the security policy would still keep a script from running."""
    hostile = "<script>document.title = 'theirs'</script><img src='https://example.com/x.png'>"
    file = tmp_path / "hostile.html"
    file.write_text(report.read_text().replace("<main>", f"<main>{hostile}"))
    with browser.open(file) as page:
        assert page.evaluate("document.title") == "session – voicecli"
        assert sum("Content Security Policy" in one for one in page.complaints) >= 2


def test_a_click_plays_from_there_and_the_line_follows(browser: Browser, report: Path) -> None:
    with browser.open(report) as page:
        page.evaluate(
            "new Promise(done => { const a = document.querySelector('audio');"
            " a.readyState ? done() : a.addEventListener('loadedmetadata', done); })"
        )
        assert page.evaluate("document.querySelector('audio').duration") == pytest.approx(
            15,
            abs=0.02,  # whole blocks of Vorbis
        )
        assert seek(page, "document.querySelector('#turn-2 button').click()") == pytest.approx(
            4.5, abs=0.1
        )
        place = page.evaluate("document.querySelector('.playhead').getAttribute('x1')")
        assert float(place.removesuffix("%")) == pytest.approx(100 * 4.5 / 15, abs=2)
        click = (
            "{ const row = document.querySelector('svg.waveform');"
            " const box = row.getBoundingClientRect();"
            " row.dispatchEvent(new MouseEvent('click', {clientX: box.left + box.width * 0.8})) }"
        )
        assert seek(page, click) == pytest.approx(12, abs=0.1)


def seek(page: Page, script: str) -> float:
    """Where the sound is after ``script`` moved it; it is stopped there."""
    at: float = page.evaluate(
        "new Promise(done => { const a = document.querySelector('audio');"
        " const settle = () => { a.pause(); setTimeout(() => done(a.currentTime)) };"
        " a.addEventListener('seeked', settle, {once: true});"
        f" {script} }})"
    )
    return at


def test_what_is_folded_is_printed(browser: Browser, report: Path) -> None:
    with browser.open(report) as page:
        count = "document.querySelectorAll('details[data-print]:not([open])').length"
        assert page.evaluate(count) == 1  # the definitions
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.evaluate(count) == 0
        assert page.evaluate("document.querySelectorAll('.definitions > div').length") > 10


OUTSIDE = """
[...document.querySelectorAll('svg text, main *')].filter(e => {
  const box = e.getBoundingClientRect();
  const outside = box.left < -0.5 || box.right > innerWidth + 0.5;
  return box.width && outside && !e.closest('.scroll, audio');
}).map(e => e.textContent)
"""
CONTRASTS = """
(() => {
  const parse = (text) => text.match(/[0-9.]+/g).map(Number);
  const shine = ([r, g, b]) => [r, g, b].map(one => {
    one /= 255;
    return one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4;
  }).reduce((sum, one, i) => sum + one * [0.2126, 0.7152, 0.0722][i], 0);
  const under = (e) => {
    for (; e; e = e.parentElement) {
      const found = parse(getComputedStyle(e).backgroundColor);
      if (found.length < 4 || found[3]) return found;
    }
    return [255, 255, 255];
  };
  const contrasts = [];
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    if (e.matches('script, style, title') || !e.getBoundingClientRect().width) continue;
    const style = getComputedStyle(e);
    const ink = shine(parse(e instanceof SVGElement ? style.fill : style.color));
    const paper = shine(under(e));
    contrasts.push((Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05));
  }
  return Math.min(...contrasts);
})()
"""
