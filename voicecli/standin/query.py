"""The query string of a Deepgram connection, read as strictly as the service reads it."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

INVALID = "INVALID_QUERY_PARAMETER"

REFUSALS = {
    401: ("INVALID_AUTH", "Invalid credentials."),
    402: (
        "ASR_PAYMENT_REQUIRED",
        "Project does not have enough credits for an ASR request "
        "and does not have an overage agreement.",
    ),
    403: (
        "INSUFFICIENT_PERMISSIONS",
        "Project does not have access to the requested model.",
    ),
    404: ("NOT_FOUND", "Not found."),
    429: ("TOO_MANY_REQUESTS", "Too many requests. Please try again later"),
    500: ("INTERNAL_SERVER_ERROR", "Internal server error."),
    503: ("Service Unavailable", "Please try again later"),
}
"""What the service says with each status; 404 and 500 are not published and are ours."""


class Refusal(Exception):
    """A connection is refused before the upgrade: HTTP status, ``err_code``, ``err_msg``."""

    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        usual = REFUSALS.get(status, ("ERROR", f"Error {status}."))
        self.status, self.code, self.message = status, code or usual[0], message or usual[1]
        super().__init__(status, self.code, self.message)


class Query:
    """The parameters of a request's path; a bad one raises Refusal.  Unknown ones are let pass."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self.path = parts.path
        self._values = parse_qs(parts.query, keep_blank_values=True)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def all(self, name: str) -> list[str]:
        """The values of a parameter that may be repeated."""
        return self._values.get(name, [])

    def text(self, name: str, default: str) -> str:
        """The value of a parameter; the last one counts."""
        return self._values.get(name, [default])[-1]

    def flag(self, name: str) -> bool:
        """A boolean: ``true`` or ``false``, nothing else (Python's ``True`` is refused)."""
        value = self.text(name, "false")
        if value not in ("true", "false"):
            raise undeserializable(name, "provided string was not `true` or `false`")
        return value == "true"

    def integer(self, name: str, default: int) -> int:
        """A whole number, not negative."""
        value = self.text(name, str(default))
        if not re.fullmatch(r"\d{1,9}", value):
            raise undeserializable(name, "invalid digit found in string")
        return int(value)

    def decimal(self, name: str, default: float) -> float:
        """A number."""
        value = self.text(name, str(default))
        if not re.fullmatch(r"-?\d{1,9}(\.\d{1,9})?", value):
            raise undeserializable(name, "invalid float literal")
        return float(value)


def undeserializable(name: str, why: str) -> Refusal:
    """The refusal of a parameter that cannot be read."""
    return Refusal(400, INVALID, f"Failed to deserialize query parameters: {name}: {why}")
