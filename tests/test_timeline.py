"""Timelines in memory and on disk."""

from __future__ import annotations

import errno
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.timelines import any_entry, save
from voicecli import events
from voicecli.errors import InputError, UsageError
from voicecli.events import (
    Action,
    CommitReply,
    DraftReply,
    Event,
    FinalTranscript,
    ReplyEvent,
    SpeechStarted,
    UtteranceEnded,
    Warned,
)
from voicecli.timeline import (
    KINDS,
    Entry,
    Header,
    Timeline,
    TimelineWriter,
    decode,
    encode,
    load,
    open_writer,
)

HEADER = Header(profile={"stt": {"model": "nova-3"}}, clock_origin=5231.5, started="2026-11-25")
HEARD = FinalTranscript(at=1.5, text="Grüß dich,\n\x1b[31m\u2028", speech_start=0.1, speech_end=1.2)
ASKED = CommitReply(at=1.5, turn=1, user_text="Hello?", speech_end=None, reason="final")

ENTRIES = any_entry()


def written(tmp_path: Path, *lines: str) -> Path:
    header = '{"schema_version": 1, "program": "voicecli", "profile": {}}'
    path = tmp_path / "timeline.jsonl"
    path.write_text("".join(f"{line}\n" for line in (header, *lines)))
    return path


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load(path)
    return caught.value.cause.removeprefix(f"{path}:")


# ── in memory ────────────────────────────────────────────────────────────────


def test_followers_get_what_comes_after_them_in_order():
    seen: list[tuple[str, Entry]] = []
    timeline = Timeline([HEARD])
    timeline.follow(lambda entry: seen.append(("first", entry)))
    timeline.follow(lambda entry: seen.append(("second", entry)))
    timeline.append(ASKED)
    assert seen == [("first", ASKED), ("second", ASKED)]
    assert list(timeline) == [HEARD, ASKED]
    assert len(timeline) == 2
    assert timeline[-1] is ASKED
    assert timeline[1:] == [ASKED]


# ── on disk ──────────────────────────────────────────────────────────────────


def test_every_event_and_every_action_has_a_name_of_its_own():
    classes = {
        kind
        for kind in vars(events).values()
        if isinstance(kind, type) and issubclass(kind, Event | Action)
    }
    assert set(KINDS.values()) == classes - {Event, Action, ReplyEvent}


@given(ENTRIES)
def test_an_entry_survives_the_way_to_json_and_back(entry: Entry):
    line = encode(entry)
    assert line.isascii()
    assert line.isprintable()
    assert decode(line) == entry


@settings(deadline=None)  # the machine may be busy
@given(st.lists(ENTRIES, max_size=8))
def test_a_timeline_survives_the_way_to_disk_and_back(
    tmp_path_factory: pytest.TempPathFactory, entries: list[Entry]
):
    path = tmp_path_factory.mktemp("timeline") / "timeline.jsonl"
    save(entries, path, HEADER)
    saved = load(path)
    assert list(saved.timeline) == entries
    assert saved.header == HEADER
    assert not saved.torn


def test_what_was_appended_is_on_disk_before_the_file_is_closed(tmp_path):
    path = tmp_path / "timeline.jsonl"
    timeline = Timeline()
    with open_writer(path, HEADER) as writer:
        timeline.follow(writer)
        for count, entry in enumerate((HEARD, ASKED), 1):
            timeline.append(entry)
            assert list(load(path).timeline) == list(timeline)[:count]


def test_the_lines_are_as_documented(tmp_path):
    path = tmp_path / "timeline.jsonl"
    save([SpeechStarted(at=0.62, speech_start=0.5), ASKED], path, HEADER)
    header, first, second = map(json.loads, path.read_text().splitlines())
    assert header == {
        "schema_version": 1,
        "program": "voicecli",
        "version": "0.1.0",
        "profile": {"stt": {"model": "nova-3"}},
        "clock_origin": 5231.5,
        "started": "2026-11-25",
    }
    assert first == {"event": "SpeechStarted", "at": 0.62, "speech_start": 0.5}
    assert second == {
        "action": "CommitReply",
        "at": 1.5,
        "turn": 1,
        "user_text": "Hello?",
        "speech_end": None,
        "reason": "final",
    }


@pytest.mark.parametrize("lost", range(1, len(encode(ASKED)) + 2))
def test_a_torn_last_line_is_left_out_and_reported(tmp_path, lost):
    path = tmp_path / "timeline.jsonl"
    save([HEARD, ASKED], path, HEADER)
    path.write_bytes(path.read_bytes()[:-lost])
    saved = load(path)
    whole = lost == 1  # only the line end is missing
    gone = lost == len(encode(ASKED)) + 1  # not a byte of the line is there
    assert list(saved.timeline) == ([HEARD, ASKED] if whole else [HEARD])
    assert saved.torn == (not whole and not gone)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "2: not valid JSON"),
        ("[" * 100_000, "2: not valid JSON"),
        ("[]", "2: not a JSON object"),
        ("{}", "2: an entry has an event or an action"),
        ('{"event": "A", "action": "B"}', "2: an entry has an event or an action"),
        ('{"event": ["SpeechStopped"]}', '2: unknown event ["SpeechStopped"]'),
        (
            '{"event": "SpeechStoped", "at": 1}',
            '2: unknown event "SpeechStoped". Did you mean SpeechStopped?',
        ),
        ('{"action": "UserQuit", "at": 1}', '2: unknown action "UserQuit". Did you mean'),
        ('{"event": "ReplyEvent", "at": 1, "turn": 1}', '2: unknown event "ReplyEvent"'),
        (
            '{"event": "UserQuit", "at": 1, "reson": ""}',
            '2: UserQuit has no field "reson". Did you mean reason?',
        ),
        ('{"event": "UserQuit", "at": "1"}', '2: UserQuit.at cannot be "1"'),
        ('{"event": "UserQuit", "at": true}', "2: UserQuit.at cannot be true"),
        ('{"event": "UserQuit", "at": NaN}', "2: UserQuit.at cannot be NaN"),
        ('{"event": "UserQuit", "at": 1' + 400 * "0" + "}", "2: UserQuit.at cannot be [redacted]"),
        ('{"event": "UserQuit", "at": 1' + 9000 * "0" + "}", "2: not valid JSON"),
        ('{"event": "FirstToken", "at": 1, "turn": 1.5}', "2: FirstToken.turn cannot be 1.5"),
        ('{"event": "PlaybackStarted", "at": 1}', "2: PlaybackStarted lacks turn"),
        (
            '{"event": "ReplyFailed", "at": 1, "turn": 1, "service": "\x7f"}',
            '2: ReplyFailed.service cannot be "\\u007f"',
        ),
    ],
)
def test_a_wrong_line_is_refused_with_its_place(tmp_path, line, problem):
    assert refusal(written(tmp_path, line)).startswith(problem)


def test_the_place_is_counted_from_the_header(tmp_path):
    assert refusal(written(tmp_path, encode(HEARD), encode(ASKED), "?")).startswith("4: ")


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("", "1: not valid JSON"),
        ("{}\n", "1: not a timeline of voicecli"),
        ('{"program": "voicecli", "schema_version": 2}\n', "1: schema_version is 2, and must be 1"),
        ('{"program": "voicecli"}\n', "1: schema_version is null"),
        ('{"program": "voicecli", "schema_version": 1, "profil": {}}\n', "1: Header has no"),
        ('{"program": "voicecli", "schema_version": 1, "profile": []}\n', "1: Header.profile"),
        ("\xff\n", "1: not UTF-8"),
    ],
)
def test_a_wrong_header_is_refused(tmp_path, header, problem):
    path = tmp_path / "timeline.jsonl"
    path.write_bytes(header.encode("latin-1"))
    assert refusal(path).startswith(problem)


def test_optional_fields_may_be_missing():
    assert decode('{"event": "FirstToken", "at": 1, "turn": 2}').at == 1.0
    assert decode('{"event": "UtteranceEnded", "at": 1, "last_word_end": null}') == UtteranceEnded(
        at=1.0, last_word_end=None
    )


def test_an_infinite_time_is_not_written():
    with pytest.raises(ValueError, match="JSON compliant"):
        encode(SpeechStarted(at=float("inf"), speech_start=0))


def test_no_file_to_read(tmp_path):
    with pytest.raises(InputError, match=r"none\.jsonl cannot be read: No such file"):
        load(tmp_path / "none.jsonl")


def test_no_folder_to_write_to(tmp_path):
    with pytest.raises(UsageError, match="could not be written: No such file or directory"):
        save([], tmp_path / "none" / "timeline.jsonl", HEADER)


class FullDisk(io.StringIO):
    """Has room for so many lines."""

    def __init__(self, lines: int) -> None:
        super().__init__()
        self.room = lines

    def write(self, text: str) -> int:
        self.room -= 1
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


def test_a_full_disk_ends_the_file_and_not_the_conversation():
    disk = FullDisk(lines=2)
    writer = TimelineWriter(disk, HEADER)
    timeline = Timeline()
    timeline.follow(writer)
    for _ in range(3):
        timeline.append(Warned(at=1, service="audio", text="quiet"))
    assert len(timeline) == 3
    assert writer.failure is not None
    assert writer.failure.errno == errno.ENOSPC
    assert len(disk.getvalue().splitlines()) == 2


def test_a_full_disk_is_reported_at_the_end():
    def everything() -> Any:
        with open_writer(Path("/dev/full"), HEADER) as writer:
            writer(DraftReply(at=1, turn=1, user_text="Hello?"))

    with pytest.raises(UsageError, match="/dev/full could not be written: No space left"):
        everything()
