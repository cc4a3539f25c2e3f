"""The program's failures, and the exit code that each one ends it with.

    VoiceError
    ├── ThresholdError      1   a budget or an assertion is missed
    ├── DifferenceError     1   a service was asked something else than a cassette has
    ├── UsageError          2   the command line
    │   ├── ProfileError    2   a profile or script: FILE:LINE, key, hint
    │   └── InputError      2   a recording or another input file
    ├── CredentialsError    3   a key is missing, or a service refuses it
    ├── DeviceError         4   microphone or loudspeaker
    ├── ServiceError        5   a service or the network; has service, status, request id
    │   ├── AbsentError     5   nothing answers at its address
    │   ├── OfflineError    5   the network is down, or has no route to it
    │   ├── StalledError    5   it sends nothing, though its connection is open
    │   ├── DeclinedError   5   it declines this prompt; another one may pass
    │   └── RefusedError    3   it refuses the key, or what the key may do
    ├── UnreliableError     6   measured, but not reliably (only with --strict)
    └── NoReplyError        7   the agent never answered

A message is written for the person at the terminal: one sentence that says what failed and why,
then what to do about it (``hint``).  Foreign exceptions are translated where they are raised.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from typing_extensions import override

from voicecli.units import Seconds

BUG = 70
"""Exit code for an exception that is no VoiceError: EX_SOFTWARE of sysexits.h."""

IO_FAILED = 74
"""Exit code where a file cannot be written or read: EX_IOERR of sysexits.h."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as a shell would report it."""


class VoiceError(Exception):
    """A failure that the program foresees.

    cause: what failed and why, one sentence without its full stop.
    hint: what the reader can do about it, a sentence of its own; may be empty.
    """

    exit_code = 1

    def __init__(self, cause: str, *, hint: str = "") -> None:
        super().__init__(cause, hint)
        self.cause = cause
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.cause}. {self.hint}" if self.hint else self.cause

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).__new__, (type(self), *self.args), self.__dict__  # no __init__


class ThresholdError(VoiceError):
    """A budget or an assertion of the user's is missed."""


class DifferenceError(VoiceError):
    """A service was asked something else than when the cassette was recorded."""


class UsageError(VoiceError):
    """The command line is wrong."""

    exit_code = 2


class ProfileError(UsageError):
    """A profile or script cannot be used; the cause begins with FILE:LINE where there is one."""


class InputError(UsageError):
    """An input file cannot be used."""


class CredentialsError(VoiceError):
    """A key is missing, or a service refuses it."""

    exit_code = 3


class DeviceError(VoiceError):
    """A microphone or loudspeaker is missing, busy, or refuses the format."""

    exit_code = 4


class ServiceError(VoiceError):
    """A service refuses, fails, or cannot be reached.

    service: "stt", "llm" or "tts".
    status: HTTP status or WebSocket close code, if one was received.
    request_id: the service's own id of the request, to quote to its support.
    temporary: whether the same call may succeed later (429, 5xx, a lost connection).
    retry_after: how many seconds to wait before that, if the service says so.
    """

    exit_code = 5

    def __init__(
        self,
        service: str,
        cause: str,
        *,
        hint: str = "",
        status: int | None = None,
        request_id: str | None = None,
        temporary: bool = False,
        retry_after: Seconds | None = None,
    ) -> None:
        if request_id:
            cause = f"{cause} (request id {request_id})"
        super().__init__(f"{service.upper()}: {cause}", hint=hint)
        self.service = service
        self.status = status
        self.request_id = request_id
        self.temporary = temporary
        self.retry_after = retry_after

    @property
    def final(self) -> bool:
        """Whether repeating the call is useless: the service understood it and refuses."""
        return not self.temporary and self.status in (400, 401, 402, 403, 404, 422)


class AbsentError(ServiceError):
    """Nothing answers at the service's address: no host has the name, or no program listens."""


class OfflineError(ServiceError):
    """This machine's network is down, has no route to the service, or its resolver no answer."""


class StalledError(ServiceError):
    """A service that owes an answer sends nothing, though its connection is open."""


class DeclinedError(ServiceError):
    """A service declines the content of a call; the conversation can go on with another one."""

    @property
    @override
    def final(self) -> bool:
        return False


class RefusedError(ServiceError, CredentialsError):
    """A service refuses the key, or what the key may do (401, 403)."""

    exit_code = 3


class UnreliableError(VoiceError):
    """A measurement is not reliable (``--strict``)."""

    exit_code = 6


class NoReplyError(VoiceError):
    """The conversation ended without a reply."""

    exit_code = 7


def find_first_error(group: BaseExceptionGroup[ServiceError]) -> ServiceError:
    """Return the first error of ``group``, whose others follow from it."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, ServiceError)
    return error


def list_leaves(error: BaseException) -> list[BaseException]:
    """List the errors in a group and the groups within it; an error that is none by itself."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in list_leaves(inner)]
    return [error]


def choose_failure(leaves: Iterable[BaseException]) -> VoiceError | None:
    """Return the failure to report of several: a refused key explains a lost service."""
    kinds = CredentialsError, UsageError, DeviceError, ServiceError, VoiceError
    known = [leaf for leaf in leaves if isinstance(leaf, VoiceError)]
    return next((one for kind in kinds for one in known if isinstance(one, kind)), None)


def suggest(
    word: str, known: Iterable[str], *, limit: int = 1, cutoff: float = 0.6, prefix: str = ""
) -> str:
    """Return "Did you mean a or b?" for the ``limit`` names most like ``word``, or "".

    cutoff: least similarity, from 0 (any name) to 1 (the same name, but for case).
    prefix: written before each name, and not compared.
    """
    from difflib import get_close_matches  # 10 ms, which --help does not pay

    names = {name.casefold(): f"{prefix}{name}" for name in known}
    near = get_close_matches(word.casefold(), names, n=limit, cutoff=cutoff)
    return f"Did you mean {' or '.join(names[name] for name in near)}?" if near else ""
