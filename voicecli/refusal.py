"""What a service's refusal means to the person at the terminal."""

from __future__ import annotations

from typing import NamedTuple

from voicecli.endpoints import clean
from voicecli.errors import RefusedError, ServiceError


class Refusal(NamedTuple):
    """One row of a table from a status or a close code to its meaning.

    cause, mend: as in VoiceError; {names} are filled in.
    temporary: whether the same call may succeed later.
    """

    cause: str
    mend: str = ""
    temporary: bool = False

    def error(
        self,
        service: str,
        code: int,
        said: str,
        *,
        request_id: str | None,
        kind: type[ServiceError] = ServiceError,
        **names: str,
    ) -> ServiceError:
        """The error for the terminal: this meaning, and the service's own words, cleaned."""
        label = f"HTTP {code}" if code < 1000 else str(code)  # closes of a WebSocket begin at 1000
        words = clean(said)
        return (RefusedError if code in (401, 403) else kind)(
            service,
            f"{self.cause.format_map(names)} ({label}: {words})"
            if words
            else f"{self.cause.format_map(names)} ({label})",
            mend=self.mend.format_map(names),
            status=code,
            request_id=clean(request_id or "") or None,
            temporary=self.temporary,
        )
