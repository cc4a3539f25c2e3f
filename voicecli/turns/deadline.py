"""What the turn machine waits for, and until when.  Pure."""

from __future__ import annotations

from typing import Literal

from voicecli.units import Seconds

COMMIT_FALLBACK: Seconds = 5.0
"""Commit pending words after this time if no rule has; a working STT never takes that long."""

DeadlineKind = Literal["", "finalize", "commit", "yield", "fallback", "settle"]
"""What is waited for.

"": nothing.
finalize: the STT's answer to a Finalize; without one, the words known count.
commit: a pause that is long enough for what was said.
yield: as finalize, after the user has pressed the key that ends the turn.
fallback: any rule that commits the words known.
settle: the last words after the end of the input.
"""


class Deadline:
    """When the machine must be woken.

    settle: how long to wait for the last words after the end of the input.
    at: None for never.
    kind: what for.
    commit_at: when to commit; ``at`` may be earlier, or later while the draft is waited for.
    draft_at: when to draft on the words known, whatever else is waited for; None for never.
    input_ended: whether nobody will speak any more.
    """

    def __init__(self, settle: Seconds) -> None:
        self.settle = settle
        self.at: Seconds | None = None
        self.kind: DeadlineKind = ""
        self.commit_at: Seconds = 0.0
        self.draft_at: Seconds | None = None
        self.input_ended = False
        self._held = False
        """Whether the present wait for the commit was prolonged once."""

    @property
    def next(self) -> Seconds | None:
        """The earlier of ``at`` and ``draft_at``; None for never."""
        return min((at for at in (self.at, self.draft_at) if at is not None), default=None)

    def set(self, at: Seconds, kind: DeadlineKind) -> None:
        """Wait until ``at``."""
        self._held = self._held and kind == self.kind == "commit"
        self.at, self.kind = at, kind

    def set_commit(self, commit_at: Seconds, *, wake_at: Seconds | None = None) -> None:
        """Wait until the commit, or until ``wake_at`` to do something before it."""
        self.commit_at = commit_at
        self.set(commit_at if wake_at is None else wake_at, "commit")

    def hold_commit(self, until: Seconds) -> None:
        """Do not commit before ``until``; a wait is prolonged once, so that noise cannot go on."""
        if self.at is not None and self.kind == "commit" and not self._held:
            self._held = True
            self.at, self.commit_at = max(self.at, until), max(self.commit_at, until)

    def clear(self) -> None:
        """Wait for nothing."""
        self.at, self.kind, self._held, self.draft_at = None, "", False, None

    def is_draft_due(self, at: Seconds) -> bool:
        """Whether to draft at the time ``at``."""
        return self.draft_at is not None and at >= self.draft_at

    def is_due(self, at: Seconds) -> bool:
        """Whether the wait is over at the time ``at``."""
        return self.at is not None and at >= self.at

    def await_user(self, at: Seconds, *, has_words: bool) -> None:
        """Nobody speaks: wait for speech, or for the last words after the end of the input.

        has_words: whether words are pending.
        """
        if has_words:
            self.arm_fallback(at)
        elif not self.input_ended:
            self.clear()
        elif self.kind != "settle":
            self.arm_fallback(at)

    def await_speech_end(self, at: Seconds) -> None:
        """Wait for SpeechStopped; after the end of the input, use the fallback."""
        if self.input_ended:
            self.arm_fallback(at)
        else:
            self.clear()

    def arm_fallback(self, at: Seconds) -> None:
        """Wait for any rule that commits the words known."""
        if self.input_ended:
            self.set(at + self.settle, "settle")
        else:
            self.set(at + COMMIT_FALLBACK, "fallback")
