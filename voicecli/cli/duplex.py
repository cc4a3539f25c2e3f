"""Whether the microphone may stay live while a loudspeaker speaks."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from voicecli.errors import UsageError

if TYPE_CHECKING:
    from voicecli.profile import Profile

INSTALL = "pip install 'voicecli[aec]'"

FALLBACK = "interrupt.policy=off"
"""The setting that makes a conversation half duplex."""


def cancels_echo() -> bool:
    """Whether this installation can take the agent's voice out of the microphone's."""
    return all(find_spec(name) is not None for name in ("voicecli.echo", "pywebrtc_audio"))


def warning(profile: Profile) -> str | None:
    """Why the conversation has to be half duplex against the profile's wish; None: it need not.

    Who turns the cancellation off wants the loudspeaker heard.

    Raises UsageError where the cancellation was asked for and is not there.
    """
    asked = profile.audio.echo_cancellation
    if asked == "off" or cancels_echo():
        return None
    if asked == "on":
        raise UsageError(
            "audio.echo_cancellation is on, and nothing here cancels an echo",
            mend=f"Install it: {INSTALL}.",
        )
    if profile.interrupt.policy != "speakers":
        return None
    return (
        "Half duplex: nothing cancels the loudspeaker's echo here, so the agent would interrupt "
        f"itself. Install it: {INSTALL}; or wear headphones: --set interrupt.policy=headphones."
    )
