"""How chat servers that speak OpenAI's protocol answer: requests, chunks, errors.

The shapes are those of the sources; the texts are ours.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.chat_server import HEAD, Request, refusing

Body = dict[str, Any]

KEY = "stand-in"
"""The key that the servers take which check it."""

WORDS = ("The", " capital", " is", " Canberra", ".")


@dataclass(frozen=True)
class ChatServer:
    """A server's dialect.

    source: where its shapes are documented.
    url: its usual ``llm.base_url``.
    settings: what a profile needs besides that, ``llm.model`` and the key.
    chunks: the stream of a reply, as text, from the request.
    limits: which names of the limit of tokens it heeds; it ignores the others.
    key_refusal: the status and body with which it refuses a wrong key; None if it takes any.
    """

    name: str
    source: str
    url: str
    chunks: Callable[[Body], list[str]]
    limits: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    key_refusal: tuple[str, Any] | None = None

    async def answer(self, request: Request) -> None:
        """Answer a request as this server does."""
        if request.line.startswith("GET"):
            await refusing("200 OK", {"object": "model"})(request)
        elif self.key_refusal and request.headers.get("authorization") != f"Bearer {KEY}":
            await refusing(*self.key_refusal)(request)
        else:
            await request.write(HEAD)
            for text in self.chunks(request.body):
                await request.write(f"{len(text.encode()):x}\r\n{text}\r\n".encode())
            await request.write(b"0\r\n\r\n")

    def limit(self, body: Body) -> int:
        """The words that a request allows."""
        return min([body[name] for name in self.limits if name in body], default=len(WORDS))


def sse(*events: object) -> list[str]:
    """Chunks of a stream; text is sent as it is."""
    return [one if isinstance(one, str) else f"data: {json.dumps(one)}\n\n" for one in events]


def chunk(head: Body, delta: Body, finish: str | None, **more: Any) -> Body:
    choice = {"index": 0, "delta": delta, "finish_reason": finish, **more}
    return {"object": "chat.completion.chunk", **head, "choices": [choice]}


def usage(head: Body, count: int, **more: Any) -> Body:
    counts = {"prompt_tokens": 26, "completion_tokens": count, "total_tokens": 26 + count}
    return {"object": "chat.completion.chunk", **head, "choices": [], "usage": counts | more}


def wants_usage(body: Body) -> bool:
    return bool((body.get("stream_options") or {}).get("include_usage"))


def ollama(body: Body) -> list[str]:
    """The role in every chunk, and an empty text in the last one."""
    head = {"id": "chatcmpl-1", "model": "llama3.2", "system_fingerprint": "fp_ollama"}
    words = WORDS[: OLLAMA.limit(body)]
    reason = "stop" if len(words) == len(WORDS) else "length"
    events = [chunk(head, {"role": "assistant", "content": word}, None) for word in words]
    events.append(chunk(head, {"role": "assistant", "content": ""}, reason))
    if wants_usage(body):
        events.append(usage(head, len(words)))
    return sse(*events, "data: [DONE]\n\n")


def llama_cpp(body: Body) -> list[str]:
    """The content is null with the role; timings beside the usage."""
    head = {"id": "chatcmpl-1", "created": 1, "model": "m.gguf", "system_fingerprint": "b8681"}
    words = WORDS[: LLAMA_CPP.limit(body)]
    reason = "stop" if len(words) == len(WORDS) else "length"
    events = [chunk(head, {"role": "assistant", "content": None}, None)]
    events += [chunk(head, {"content": word}, None) for word in words]
    events.append(chunk(head, {}, reason))
    if wants_usage(body):
        events.append(usage(head, len(words)) | {"timings": {"predicted_per_second": 51.2}})
    return sse(*events, "data: [DONE]\n\n")


def vllm(body: Body) -> list[str]:
    """``stop_reason`` and ``logprobs`` beside the finish reason."""
    head = {"id": "chatcmpl-1", "created": 1, "model": "Qwen/Qwen3-8B"}
    words = WORDS[: VLLM.limit(body)]
    reason = "stop" if len(words) == len(WORDS) else "length"
    events = [chunk(head, {"role": "assistant", "content": ""}, None, logprobs=None)]
    events += [chunk(head, {"content": word}, None, logprobs=None) for word in words]
    events.append(chunk(head, {"content": ""}, reason, stop_reason=None, logprobs=None))
    if wants_usage(body):
        events.append(usage(head, len(words)))
    return sse(*events, "data: [DONE]\n\n")


def lm_studio(body: Body) -> list[str]:
    """The role in every chunk, an empty delta in the last one."""
    head = {"id": "chatcmpl-1", "created": 1, "model": "qwen3-4b", "system_fingerprint": "qwen3-4b"}
    words = WORDS[: LM_STUDIO.limit(body)]
    reason = "stop" if len(words) == len(WORDS) else "length"
    texts = [{"role": "assistant", "content": word} for word in words]
    events = [chunk(head, text, None, logprobs=None) for text in texts]
    events.append(chunk(head, {}, reason, logprobs=None))
    if wants_usage(body):
        events.append(usage(head, len(words)))
    return sse(*events, "data: [DONE]\n\n")


def azure(body: Body) -> list[str]:
    """A first chunk without choices, filter results everywhere, a last choice without delta."""
    head = {"id": "chatcmpl-1", "created": 1, "model": "gpt-4o-mini", "system_fingerprint": "fp"}
    empty = {"id": "", "created": 0, "model": ""}
    safe = {"hate": {"filtered": False, "severity": "safe"}}
    words = WORDS[: AZURE.limit(body)]
    reason = "stop" if len(words) == len(WORDS) else "length"
    prompt = [{"prompt_index": 0, "content_filter_results": safe}]
    offsets = {"check_offset": 0, "start_offset": 0, "end_offset": 24}
    events: list[Body] = [{**empty, "object": "", "choices": [], "prompt_filter_results": prompt}]
    role = {"role": "assistant", "content": "", "refusal": None}
    events.append(chunk(head, role, None, content_filter_results={}))
    events += [chunk(head, {"content": one}, None, content_filter_results=safe) for one in words]
    rogue = {"index": 0, "finish_reason": None, "content_filter_offsets": offsets}
    events.append({**empty, "object": "", "choices": [rogue | {"content_filter_results": safe}]})
    events.append(chunk(head, {}, reason, content_filter_results={}))
    if wants_usage(body):
        events.append(usage(head, len(words), prompt_tokens_details={"cached_tokens": 0}))
    return sse(*events, "data: [DONE]\n\n")


def openrouter(body: Body) -> list[str]:
    """Comments while it waits, the provider's name, the provider's own finish reason."""
    head = {"id": "gen-1", "provider": "Mistral", "model": "mistralai/mistral-small", "created": 1}
    words = WORDS[: OPENROUTER.limit(body)]
    reason = "stop" if len(words) == len(WORDS) else "length"
    more = {"native_finish_reason": None, "logprobs": None}
    events: list[object] = [": OPENROUTER PROCESSING\n\n"] * 2
    texts = [{"role": "assistant", "content": word} for word in words]
    events += [chunk(head, text, None, **more) for text in texts]
    last = {"role": "assistant", "content": ""}
    events.append(chunk(head, last, reason, native_finish_reason=reason, logprobs=None))
    if wants_usage(body):
        counts = {"cost": 0.00014, "is_byok": False}
        end = chunk(head, last, None, **more) | {
            "usage": usage(head, len(words), **counts)["usage"]
        }
        events.append(end)
    return sse(*events, "data: [DONE]\n\n")


def error(code: int, message: str, kind: str) -> Body:
    return {"error": {"code": code, "message": message, "type": kind}}


OLLAMA = ChatServer(
    name="Ollama",
    url="http://localhost:11434/v1",
    source="https://github.com/ollama/ollama/blob/main/openai/openai.go "
    "https://docs.ollama.com/api/openai-compatibility",
    chunks=ollama,
    limits=("max_tokens",),
    settings={"max_tokens_name": "max_tokens"},
)
LLAMA_CPP = ChatServer(
    name="llama.cpp server",
    url="http://localhost:8080/v1",
    source="https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md "
    "https://github.com/ggml-org/llama.cpp/blob/master/tools/server/server-common.cpp",
    chunks=llama_cpp,
    limits=("max_tokens", "max_completion_tokens"),
    key_refusal=("401 Unauthorized", error(401, "Invalid API Key", "authentication_error")),
)
VLLM = ChatServer(
    name="vLLM",
    url="http://localhost:8000/v1",
    source="https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html "
    "https://github.com/vllm-project/vllm/pull/19662",
    chunks=vllm,
    limits=("max_tokens", "max_completion_tokens"),
    key_refusal=("401 Unauthorized", {"error": "Unauthorized"}),
)
LM_STUDIO = ChatServer(
    name="LM Studio",
    url="http://localhost:1234/v1",
    source="https://lmstudio.ai/docs/developer/openai-compat/chat-completions "
    "https://github.com/lmstudio-ai/lms/issues/107",
    chunks=lm_studio,
    limits=("max_tokens",),
    settings={"max_tokens_name": "max_tokens"},
)
AZURE = ChatServer(
    name="Azure OpenAI",
    url="https://RESOURCE.openai.azure.com/openai/v1",
    source="https://learn.microsoft.com/en-us/azure/ai-foundry/openai/api-version-lifecycle "
    "https://github.com/microsoft/autogen/issues/6465 "
    "https://github.com/run-llama/llama_index/issues/8995",
    chunks=azure,
    limits=("max_completion_tokens", "max_tokens"),
    key_refusal=(
        "401 Unauthorized",
        {"error": {"code": "401", "message": "Access denied due to invalid subscription key."}},
    ),
)
OPENROUTER = ChatServer(
    name="OpenRouter",
    url="https://openrouter.ai/api/v1",
    source="https://openrouter.ai/docs/api/reference/streaming "
    "https://openrouter.ai/docs/api/reference/errors-and-debugging",
    chunks=openrouter,
    limits=("max_tokens", "max_completion_tokens"),
    key_refusal=("401 Unauthorized", {"error": {"code": 401, "message": "No auth credentials"}}),
)

SERVERS = (OLLAMA, LLAMA_CPP, VLLM, LM_STUDIO, AZURE, OPENROUTER)
