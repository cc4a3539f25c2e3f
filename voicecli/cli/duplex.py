"""Whether the microphone may stay live while a loudspeaker speaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voicecli.profile import Profile

FALLBACK = "interrupt.policy=off"
"""The setting that makes a conversation half duplex."""


def warning(profile: Profile, *, cancels: bool) -> str | None:
    """Why the conversation has to be half duplex against the profile's wish; None: it need not.

    Who turns the cancellation off, or insists on it, is not second-guessed.

    cancels: whether echo cancellation is installed.
    """
    from voicecli.echo import MISSING

    audio, interrupt = profile.audio, profile.interrupt
    if interrupt.policy != "speakers" or audio.echo_cancellation != "auto" or cancels:
        return None
    return (
        f"{MISSING}. Half duplex until then; or wear headphones, with "
        "--set interrupt.policy=headphones."
    )
