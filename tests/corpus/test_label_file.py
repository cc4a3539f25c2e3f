"""Label files: what they hold, what is said of the wrong ones, and that writing loses nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from voicecli.corpus.label_file import (
    dump_labels,
    find_labels,
    find_recording,
    load_labels,
)
from voicecli.errors import InputError
from voicecli.metrics.labels import EXPECTATIONS, KINDS, Labels, Span
from voicecli.sanitize import has_secret

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.chdir(tmp_path)

    def write(name: str, text: str) -> Path:
        Path(name).write_text(text, encoding="utf-8")
        return Path(name)

    return write


YAML = """\
version: 1
audio: x.wav
channel: 1
spans:
- {start: 7.3, end: 7.6, kind: backchannel, text: mhm}
- {start: 1, end: 3.95, kind: turn, text: "yes: two"}
- {start: 2.1, end: 2.8, kind: pause}
- {start: 9, end: 11.5, kind: interruption, expect: ignore}
"""
JSON = """\
{"version": 1, "audio": "x.wav", "channel": 1, "spans": [
\t{"start": 7.3, "end": 7.6, "kind": "backchannel", "text": "mhm"},
\t{"start": 10e-1, "end": 3.95, "kind": "turn", "text": "yes: two"},
\t{"start": 2.1, "end": 2.8, "kind": "pause"},
\t{"start": 9, "end": 11.5, "kind": "interruption", "expect": "ignore"}]}
"""
LABELS = Labels(
    channel=1,
    spans=(
        Span(start=1.0, end=3.95, kind="turn", expect="respond", text="yes: two"),
        Span(start=2.1, end=2.8, kind="pause", expect="hold"),
        Span(start=7.3, end=7.6, kind="backchannel", expect="hold", text="mhm"),
        Span(start=9.0, end=11.5, kind="interruption", expect="ignore"),
    ),
)


@pytest.mark.parametrize(("name", "text"), [("x.labels.yaml", YAML), ("x.labels.json", JSON)])
def test_spans_are_ordered_and_expect_what_their_kind_does(write: Write, name: str, text: str):
    assert load_labels(write(name, text), duration=11.5) == LABELS


def spans(*lines: str) -> str:
    return "version: 1\nspans:\n" + "".join(f"- {{{line}}}\n" for line in lines)


TURN = "start: 1, end: 3, kind: turn"
KNOWN = "turn, pause, interruption, backchannel, tic, other, background or noise"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("spans: []", "x.labels.yaml:1: version is missing"),
        ("version: 2", "x.labels.yaml:1: version should be 1, not 2"),
        ("- 1", "x.labels.yaml:1: a label file must be a mapping of sections"),
        (
            spans("start: 1, end: 1, kind: turn"),
            "x.labels.yaml:3: spans[0].end must be after start, 1, not 1",
        ),
        (
            spans("start: .nan, end: 1, kind: turn"),
            "x.labels.yaml:3: spans[0].start should be a number of at least 0, not NaN",
        ),
        (
            spans("start: -1, end: 1, kind: turn"),
            "x.labels.yaml:3: spans[0].start should be a number of at least 0, not -1",
        ),
        (
            spans(TURN, "start: 4, end: 5, kind: trun"),
            f'x.labels.yaml:4: spans[1].kind should be {KNOWN}, not "trun"',
        ),
        (
            spans("start: 4, end: 5, kind: tic, txt: ah"),
            "x.labels.yaml:3: unknown key spans[0].txt. Did you mean spans[0].text?",
        ),
        (
            spans("start: 4, end: 5, kind: tic, end: 6"),
            "x.labels.yaml:3: spans[0].end is set twice, first at x.labels.yaml:3",
        ),
        (
            "version: 1\nspans:\n- &a {start: 1, end: 2, kind: tic}\n- *a",
            "x.labels.yaml:3: spans[1] is an alias; label files must not use aliases",
        ),
        (
            spans(TURN, "start: 2.5, end: 4, kind: turn"),
            "x.labels.yaml:4: spans[1].start lies within the turn of x.labels.yaml:3",
        ),
        (
            spans("start: 2.5, end: 4, kind: backchannel", TURN),
            "x.labels.yaml:3: spans[0].start lies within the turn of x.labels.yaml:4",
        ),
        (
            spans(TURN, "start: 1.2, end: 2, kind: pause", "start: 1.9, end: 2.1, kind: pause"),
            "x.labels.yaml:5: spans[2].start lies within the pause of x.labels.yaml:4",
        ),
        (
            spans(TURN, "start: 2.5, end: 3, kind: pause"),
            "x.labels.yaml:4: spans[1].start has no turn or interruption around it, with speech "
            "before and after the pause. Silence between two turns needs no label.",
        ),
        (
            spans(TURN, "start: 1, end: 2, kind: pause"),
            "x.labels.yaml:4: spans[1].start has no turn or interruption around it, with speech "
            "before and after the pause. Silence between two turns needs no label.",
        ),
        (
            spans(TURN, "start: 4.5, end: 5.02, kind: noise"),
            "x.labels.yaml:4: spans[1].end is beyond the recording's end, 5.000 s. "
            "Are these the labels of another recording?",
        ),
        (
            "version: 1\naudio: /etc/passwd",
            'x.labels.yaml:2: audio should be text like x.wav or null, not "/etc/passwd"',
        ),
        (
            spans("start: 1, end: 2, kind: turn, text: 0123456789abcdef0123456789abcdef01234567"),
            "x.labels.yaml:3: spans[0].text looks like a secret; label files must not contain "
            "secrets. Leave it out.",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_line_and_key(write: Write, text: str, error: str):
    with pytest.raises(InputError) as caught:
        load_labels(write("x.labels.yaml", text), duration=5.0)
    assert str(caught.value) == error


def test_every_problem_is_told_at_once(write: Write):
    file = write("x.labels.yaml", spans("start: 2, end: 1, kind: turn", "start: 9, end: 9.5"))
    with pytest.raises(InputError, match=r":4: spans\[1\].kind is missing"):
        load_labels(file)
    file = write(
        "x.labels.yaml", spans("start: 2, end: 1, kind: tic", "start: 4, end: 3, kind: tic")
    )
    with pytest.raises(InputError, match=r"(?s):3: spans\[0\].end.*:4: spans\[1\].end"):
        load_labels(file)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('{"version": 1,\n "spans": [}', "x.labels.json:2: this is not JSON: Expecting value"),
        ('{"version": 1,\n "version": 1}', "x.labels.json:2: version is set twice"),
        ("[" * 100_000, "x.labels.json:1: brackets or sections are nested too deeply"),
        ('{"version":\n NaN}', "x.labels.json:1: version should be 1, not NaN"),
        (
            '{"version": 1, "spans": [\n\t{"start": 1, "end": Infinity, "kind": "tic"}]}',
            "x.labels.json:2: spans[0].end should be a number above 0, not Infinity",
        ),
    ],
)
def test_json_has_lines_too(write: Write, text: str, error: str):
    with pytest.raises(InputError) as caught:
        load_labels(write("x.labels.json", text))
    assert str(caught.value).startswith(error)


def test_json_may_write_an_emoji_as_surrogates(write: Write):
    spelled = r'"\ud83d\ude42 \\ud83d\\ude42"'
    text = (
        f'{{"version": 1, "spans": [{{"start": 0, "end": 1, "kind": "turn", "text": {spelled}}}]}}'
    )
    assert load_labels(write("x.labels.json", text)).spans[0].text == r"🙂 \ud83d\ude42"


@pytest.mark.parametrize(
    "half", [r"\ud83d", r"\uDE42", r"\ude42\ud83d", r"\ud83d\ud83d\ude42", r"\u0000"]
)
def test_json_may_not_write_half_a_character(write: Write, half: str):
    spans = f'[\n{{"start": 0, "end": 1, "kind": "turn", "text": "I {half}"}}]'
    with pytest.raises(InputError, match=r":2: spans\[0\].text contains a NUL or half a character"):
        load_labels(write("x.labels.json", f'{{"version": 1, "spans": {spans}}}'))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, write: Write):
    with pytest.raises(InputError, match=r"none.labels.yaml cannot be read: No such file"):
        load_labels(Path("none.labels.yaml"))
    Path("latin.labels.yaml").write_bytes(b"version: 1 # caf\xe9")
    with pytest.raises(InputError, match=r"latin.labels.yaml: this is not UTF-8 text"):
        load_labels(Path("latin.labels.yaml"))


# ── which belongs to which ───────────────────────────────────────────────────


def test_labels_are_found_beside_the_recording(write: Write):
    recording = Path("a.b.wav")
    assert find_labels(recording) is None
    file = write("a.b.labels.json", "")
    assert find_labels(recording) == file
    write("a.b.labels.yaml", "")
    with pytest.raises(InputError, match="has two label files"):
        find_labels(recording)


def test_the_recording_is_what_the_labels_name_or_what_is_named_alike(write: Write):
    labels = write("x.labels.yaml", "version: 1")
    assert find_recording(labels) is None
    recording = write("x.FLAC", "")
    assert find_recording(labels) == recording
    named = write("x.labels.yaml", "version: 1\naudio: y.wav")
    assert find_recording(named) is None
    recording = write("y.wav", "")
    assert find_recording(named) == recording


# ── writing ──────────────────────────────────────────────────────────────────

times = st.floats(1e-6, 1e4)
texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20
).filter(lambda text: not has_secret(text))


@st.composite
def labels(draw: st.DrawFn) -> Labels:
    """Spans that follow each other, a turn with a pause in it now and then."""
    at, found = 0.0, []
    for _ in range(draw(st.integers(0, 5))):
        start = at + draw(times)
        end = start + draw(times)
        kind = draw(st.sampled_from([one for one in KINDS if one != "pause"]))
        expect = draw(st.sampled_from(EXPECTATIONS))
        found.append(Span(start=start, end=end, kind=kind, expect=expect, text=draw(texts)))
        third = (end - start) / 3
        if kind in ("turn", "interruption") and draw(st.booleans()):
            found.append(Span(start=start + third, end=end - third, kind="pause", expect="hold"))
        at = end
    return Labels(spans=tuple(found), channel=draw(st.none() | st.integers(0, 63)))


NEXT_LINE = Labels(
    spans=(Span(start=1.0, end=2.0, kind="turn", expect="respond", text="ä\x85\u2028"),)
)


@example(NEXT_LINE, ".labels.yaml")
@given(labels(), st.sampled_from([".labels.yaml", ".labels.json"]))
def test_what_is_written_is_read_again(tmp_path_factory, written: Labels, suffix: str):
    file = tmp_path_factory.getbasetemp() / f"x{suffix}"
    file.write_text(dump_labels(written, as_json=suffix.endswith("json")), encoding="utf-8")
    assert load_labels(file) == written
