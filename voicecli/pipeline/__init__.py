"""The conversation that every command shares; here: what the session and a responder agree on.

The session decides when a reply is drafted, spoken and cut.  A responder produces the reply: the
cascade of LLM and TTS (``reply.CascadeResponder``), or a speech-to-speech service.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from voicecli.audio.interfaces import Sink
from voicecli.events import ConnectionOpened, Event, ReplyCancelled, TurnId
from voicecli.services.interfaces import Message
from voicecli.units import Samples

Post = Callable[[Event], None]
"""Reports an event to the session; never waits."""


class ReplyHandle(Protocol):
    """One reply: drafted while ``run`` runs, played once it is committed.

    Cancelling ``run`` is enough to stop it.  The session has silenced the sink before, and calls
    ``clear`` after.
    """

    turn: TurnId
    """The turn it answers."""

    @property
    def committed(self) -> bool:
        """Whether it may be played."""

    @property
    def heard(self) -> str:
        """The words played so far, as far as the responder can tell."""

    def prepare_speech(self) -> None:
        """Have its beginning synthesised, or whatever else shortens the wait after the commit."""

    def commit(self) -> None:
        """Allow it to be played: the user's turn has ended."""

    async def run(self) -> None:
        """Prepare and play the reply, until its last sample has been played.

        Posts PlaybackStarted, and at the end ReplyFinished or ReplyFailed; raises ServiceError only
        if the service refuses for good.
        """

    def cancelled(self, played: Samples) -> ReplyCancelled:
        """Describe the reply after it was cut when ``played`` samples had been played."""

    async def clear(self, played: Samples) -> None:
        """Drop what the services still owe of it, after it was cut."""

    async def report_heard(self) -> None:
        """After ``clear``, post HeardReported if the service tells which words were heard."""


class Responder(Protocol):
    """Produces the agent's replies, one at a time."""

    @property
    def stages(self) -> Sequence[str]:
        """The stages of mouth-to-ear that its events delimit, by their names in ``metrics.stages``;
        what other stages a turn has comes from the session's own events.
        """

    @property
    def opened(self) -> Sequence[ConnectionOpened]:
        """The connections it was given open."""

    def draft(
        self, turn: TurnId, messages: Sequence[Message], *, sink: Sink, post: Post
    ) -> ReplyHandle:
        """Return a reply to ``messages``, whose last one is what the user said in ``turn``."""

    def greet(self, *, sink: Sink, post: Post) -> ReplyHandle:
        """Return the greeting, the reply number GREETING; there is one in the settings."""

    async def load(self) -> None:
        """Load what replies need, in a thread; the conversation may have begun."""

    async def prepare_next(self, post: Post) -> None:
        """After a reply, open ahead what the next ones need; may post Warned."""

    async def warm(self) -> None:
        """Renew connections that a silence may have dropped, or a cancelled reply has."""
