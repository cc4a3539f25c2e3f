"""What went wrong with a request, as errors of the program."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voicecli.environment.network import Proxy
from voicecli.errors import DeclinedError, RefusedError, ServiceError, StalledError
from voicecli.sanitize import sanitize_short
from voicecli.services.endpoint import (
    Endpoint,
    Refusal,
    create_connect_error,
    create_proxy_error,
)
from voicecli.services.openai.problems import Problem, read_problem
from voicecli.services.openai.reply import ReplyReader
from voicecli.services.openai.request import find_names
from voicecli.services.openai.settings import LIMITS, ChatSettings

if TYPE_CHECKING:
    import httpx2

_STATUSES = {
    400: Refusal("a setting is refused", "Check {settings} in the profile."),
    401: Refusal("the key is refused", "Check {key_env}."),
    402: Refusal("the account has no credit left", "Top it up; waiting does not help."),
    403: Refusal("the key may not do this", "Check what the key in {key_env} may do."),
    404: Refusal("there is no such service at {host}", "Check `llm.base_url` in the profile."),
    429: Refusal("too many requests or tokens a minute", "Try again later.", temporary=True),
}
_STATUSES |= {405: _STATUSES[404], 422: _STATUSES[400]}
_FAILED = Refusal("{host} failed", "Try again later.", temporary=True)
_REFUSED = Refusal("{host} refuses the request")
_CHECK_URL = "Check `llm.base_url`; most servers want it to end in /v1."
_CHECK_NETWORK = "Check `llm.base_url`, the proxy and the network's sign-in."
_PAGE = Refusal("{host} answers with a web page", _CHECK_NETWORK)
_MOVED = Refusal("{host} redirects the request", _CHECK_NETWORK)
_NO_MODEL = Refusal("the model {model} does not exist (any more)", "Change `llm.model`.")
_TOO_LONG = Refusal(
    "the prompt is too long for the model {model}",
    "Lower `llm.history.max_chars` or raise the server's context size.",
)
_DECLINED = Refusal("a content filter declines the prompt", "Say it in other words.")

_QUOTA = {"insufficient_quota", "billing_not_active", "insufficient_credits"}
_KEY = re.compile(
    r"(incorrect|invalid|missing|wrong|expired) (x-)?api.?key|"
    r"api.?key (is )?(not valid|invalid|expired|missing|not found)",
    re.IGNORECASE,
)
_MODEL_CODES = {"model_not_found", "invalid_model", "deploymentnotfound"}
_MODEL = re.compile(
    r"model\b.{0,80}(not found|not exist|not loaded|not available)|no models? loaded|"
    r"invalid model|not a valid model",
    re.IGNORECASE,
)
_TOO_LONG_CODES = {"context_length_exceeded", "exceed_context_size_error"}
_LENGTH = re.compile(r"(maximum|available|max) context (length|size)", re.IGNORECASE)
_FILTER_CODES = {
    "content_filter",
    "content_policy_violation",
    "responsibleaipolicyviolation",
    "prompt_blocked",
}
_FLAGGED = re.compile(r"\b(flagged|content management policy|content policy)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ErrorFactory:
    """Creates the errors of one LLM.  Raise them "from None": a library may quote a header."""

    endpoint: Endpoint
    settings: ChatSettings
    proxy: Proxy | None = None

    def refuse(
        self,
        response: httpx2.Response,
        problem: Problem,
        sent: Mapping[str, Any],
        status: int | None = None,
    ) -> ServiceError:
        """The request is refused.

        sent: its body.
        status: if it is not the response's.
        """
        status = status or response.status_code
        meaning, kind = _classify(status, problem)
        return meaning.create_error(
            "llm",
            status,
            f"a page: {problem.message}" if problem.page and problem.message else problem.message,
            request_id=find_request_id(response),
            kind=kind,
            host=self.endpoint.authority,
            key_env=self.settings.key_env,
            model=sanitize_short(self.settings.model),
            settings=_name_settings(problem, sent),
        )

    def report(self, response: httpx2.Response, problem: Problem) -> ServiceError:
        """The server reports an error within a reply, or in its place, with status 200."""
        status = problem.status or (429 if problem.codes & _QUOTA else 0)
        if status in (401, 402, 403, 429) or status >= 500:
            return self.refuse(response, problem, {}, status)
        why = problem.message or "it does not say why"
        return self._fail(f"the reply broke off ({why})", response, temporary=True)

    def expire(self, late: str, response: httpx2.Response | None) -> ServiceError:
        """What ``late`` describes did not come in time."""
        late = f"{late} through {self.proxy}" if self.proxy else late
        return self._fail(late, response, temporary=True, kind=StalledError)

    def disconnect(self, error: BaseException, response: httpx2.Response | None) -> ServiceError:
        """The connection failed, before the response or within it."""
        import httpx2

        root = TimeoutError() if isinstance(error, httpx2.ConnectTimeout) else _find_root(error)
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout) and isinstance(
            root, OSError
        ):
            limit = self.settings.connect_timeout
            return create_connect_error("llm", self.endpoint, limit, root, self.proxy)
        if self.proxy and isinstance(error, httpx2.ProxyError):
            status = int(str(error)[:3]) if re.match(r"\d{3}\b", str(error)) else None
            return create_proxy_error("llm", self.endpoint, self.proxy, status, str(error))
        why = sanitize_short(str(root)) or type(root).__name__
        cause = f"the connection to {self.endpoint.authority} failed ({why})"
        hint = "Check the network and `llm.base_url`."
        return self._fail(cause, response, hint, temporary=True)

    def reject(self, response: httpx2.Response, text: bytes | str) -> ServiceError:
        """What came is neither a stream nor a completion: its text, or why it has none."""
        raw = text if isinstance(text, bytes) else b""
        problem, host = read_problem(raw), self.endpoint.authority
        kind = sanitize_short(response.headers.get("content-type", "").partition(";")[0])
        if not text.strip():
            return self._fail(f"{host} sent an empty reply", response, _CHECK_URL, temporary=True)
        cause, hint = f"{host} answers with something that is no reply", _CHECK_URL
        words = text if isinstance(text, str) else text[:1000].decode(errors="replace")
        if problem.page:
            cause, hint, words = f"{host} answers with a web page", _CHECK_NETWORK, problem.message
        detail = ": ".join(filter(None, [kind, sanitize_short(words)]))
        return self._fail(f"{cause} ({detail})" if detail else cause, response, hint)

    def find_lack(self, response: httpx2.Response, reply: ReplyReader) -> ServiceError | None:
        """What a stream that has ended lacks to be a reply, or None."""
        if reply.finish == "error":
            why = "the reply broke off (it does not say why)"
            return self._fail(why, response, temporary=True)
        if reply.said:
            if reply.done or reply.finish or _is_framed(response):
                return None
            return self._fail("the reply broke off", response, temporary=True)
        if reply.tools:
            hint = "Change `llm.model` or `llm.system_prompt`."
            if "tools" in self.settings.extra:
                hint = "Remove `tools` from `llm.extra`."
            return self._fail(f"the model {reply.describe_tools()}", response, hint)
        if reply.truncated == "length":
            limit = f"the limit of {self.settings.max_tokens} tokens"
            hint = "Raise `llm.max_tokens`, or have the model think less (`llm.extra`)."
            return self._fail(f"{limit} was reached before the first word", response, hint)
        if reply.truncated == "content_filter":
            return self._fail("a content filter withheld the reply", response)
        return None if reply.done or reply.finish else self.reject(response, b"")

    def _fail(
        self,
        cause: str,
        response: httpx2.Response | None,
        hint: str = "",
        *,
        temporary: bool = False,
        kind: type[ServiceError] = ServiceError,
    ) -> ServiceError:
        request_id = find_request_id(response) if response is not None else None
        return kind("llm", cause, hint=hint, request_id=request_id, temporary=temporary)


def _classify(status: int, problem: Problem) -> tuple[Refusal, type[ServiceError] | None]:
    """What the refusal means, and the kind of error unless the status says it."""
    message, codes = problem.message, problem.codes
    if 300 <= status < 400:
        return _MOVED, None
    if codes & _QUOTA:  # comes as a 429
        return _STATUSES[402], None
    if status == 403 and problem.page:
        return _PAGE, ServiceError
    if status in (400, 422) and ("api_key_invalid" in codes or _KEY.search(message)):
        return _STATUSES[401], RefusedError
    if status in (400, 403, 422) and (codes & _FILTER_CODES or _FLAGGED.search(message)):
        return _DECLINED, DeclinedError
    if status in (400, 413, 422) and (codes & _TOO_LONG_CODES or _LENGTH.search(message)):
        return _TOO_LONG, None
    if status in (400, 404, 422) and (codes & _MODEL_CODES or _MODEL.search(message)):
        return _NO_MODEL, None
    return _STATUSES.get(status, _FAILED if status >= 500 else _REFUSED), None


def _name_settings(problem: Problem, sent: Mapping[str, Any]) -> str:
    """The settings that the problem is about, for a hint; `llm` if it names none."""
    names = [name for name in sent if name in problem.fields]
    names = names or find_names([*sent, *LIMITS], problem.message)
    known = {"model": "`llm.model`", "temperature": "`llm.temperature`"}
    known |= dict.fromkeys(LIMITS, "`llm.max_tokens` and `llm.max_tokens_name`")
    return next((known[name] for name in names if name in known), "`llm`")


def find_request_id(response: httpx2.Response) -> str | None:
    """Return the service's id of a request."""
    return sanitize_short(response.headers.get("x-request-id", "")) or None


def _is_framed(response: httpx2.Response) -> bool:
    """Whether a body that ends too early is an error of the connection."""
    headers = response.headers
    return response.http_version == "HTTP/2" or (
        "content-length" in headers or "chunked" in headers.get("transfer-encoding", "").lower()
    )


def _find_root(error: BaseException) -> BaseException:
    """The exception that the libraries wrapped; the first one, if several addresses failed."""
    if isinstance(error, BaseExceptionGroup):
        return _find_root(error.exceptions[0])
    # httpcore2 raises its own "from None", for OSErrors.
    inner = error.__cause__ or (None if isinstance(error, OSError) else error.__context__)
    return error if inner is None else _find_root(inner)
