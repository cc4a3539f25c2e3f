"""The bodies in which chat servers say why they refuse a request."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.chat_server import refusing
from tests.wild.llm import ChatCase

KIND = "a chat server's refusal"

BAD, UNAUTHORIZED, FORBIDDEN = "400 Bad Request", "401 Unauthorized", "403 Forbidden"
NOT_FOUND, UNPROCESSABLE, OOPS = "404 Not Found", "422 Unprocessable Entity", "500 Oops"


def case(name: str, before: str, after: str, status: str, body: Any, **headers: str) -> ChatCase:
    return ChatCase(KIND, name, before, after, refusing(status, body, **headers))


def google(code: int, message: str, status: str, reason: str) -> list[dict[str, Any]]:
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}
    return [{"error": {"code": code, "message": message, "status": status, "details": [info]}}]


# Sources: github.com/continuedev/continue/issues/10290 (Google), github.com/mistralai/
# platform-docs-public/issues/7 (Mistral), github.com/ggml-org/llama.cpp,
# tools/server/server-common.cpp, openrouter.ai/docs/api/reference/errors-and-debugging,
# portkey.ai/error-library/content-policy-violation-error-10014 (Azure),
# github.com/lmstudio-ai/lms/issues/107 and github.com/tinyhumansai/openhuman/issues/4181
# (LM Studio), github.com/ollama/ollama/blob/main/openai/openai.go.
CASES = [
    case(
        "FastAPI: detail",
        "error 3: LLM: the key is refused (HTTP 401). Check OPENAI_API_KEY.",
        ("error 3: LLM: the key is refused (HTTP 401: Not authenticated). Check OPENAI_API_KEY."),
        UNAUTHORIZED,
        {"detail": "Not authenticated"},
    ),
    case(
        "FastAPI: a list",
        "error 5: LLM: HOST refuses the request (HTTP 422)",
        (
            "error 5: LLM: a setting is refused (HTTP 422: body.messages.0: field "
            "required; body.model: str type expected). Check `llm.model` in the profile."
        ),
        UNPROCESSABLE,
        {
            "detail": [
                {
                    "loc": ["body", "messages", 0],
                    "msg": "field required",
                    "type": "value_error.missing",
                },
                {"loc": ["body", "model"], "msg": "str type expected", "type": "type_error.str"},
            ]
        },
    ),
    case(
        "Mistral: message.detail",
        "error 5: LLM: HOST refuses the request (HTTP 422)",
        (
            "error 5: LLM: a setting is refused (HTTP 422: body.messages: List is too "
            "short). Check `llm` in the profile."
        ),
        UNPROCESSABLE,
        {
            "object": "error",
            "message": {"detail": [{"loc": ["body", "messages"], "msg": "List is too short"}]},
        },
    ),
    case(
        "Mistral: JSON within a string",
        (
            "error 5: LLM: HOST refuses the request (HTTP 422: "
            '{"detail":[{"loc":["body","messages"],"msg":"List is too short"}]})'
        ),
        (
            "error 5: LLM: a setting is refused (HTTP 422: body.messages: List is too "
            "short). Check `llm` in the profile."
        ),
        UNPROCESSABLE,
        {
            "object": "error",
            "message": '{"detail":[{"loc":["body","messages"],"msg":"List is too short"}]}',
            "type": "internal_error_proxy",
            "code": "1000",
        },
    ),
    case(
        "Mistral: the model",
        (
            "error 5: LLM: a setting is refused (HTTP 400: Invalid model: gpt-4o-mini). "
            "Check `llm` in the profile."
        ),
        (
            "error 5: LLM: the model gpt-4o-mini does not exist (any more) (HTTP 400: "
            "Invalid model: gpt-4o-mini). Change `llm.model`."
        ),
        BAD,
        {
            "object": "error",
            "message": "Invalid model: gpt-4o-mini",
            "type": "invalid_model",
            "code": "1500",
        },
    ),
    case(
        "Google: the key",
        "error 5: LLM: a setting is refused (HTTP 400). Check `llm` in the profile.",
        (
            "error 3: LLM: the key is refused (HTTP 400: API key not valid. Please pass "
            "a valid API key.). Check OPENAI_API_KEY."
        ),
        BAD,
        google(
            400,
            "API key not valid. Please pass a valid API key.",
            "INVALID_ARGUMENT",
            "API_KEY_INVALID",
        ),
    ),
    case(
        "Google: too many requests",
        (
            "error 5, temporary: LLM: too many requests or tokens a minute (HTTP 429). "
            "Try again later."
        ),
        (
            "error 5, temporary: LLM: too many requests or tokens a minute (HTTP 429: "
            "Resource has been exhausted.). Try again later."
        ),
        "429 Too Many Requests",
        google(429, "Resource has been exhausted.", "RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED"),
    ),
    case(
        "xAI: the key",
        (
            "error 5: LLM: a setting is refused (HTTP 400: Incorrect API key provided: "
            "xa***56. You can obtain an API key from the console.). Check `llm…"
        ),
        (
            "error 3: LLM: the key is refused (HTTP 400: Incorrect API key provided: "
            "xa***56. See the console.). Check OPENAI_API_KEY."
        ),
        BAD,
        {
            "code": "Client specified an invalid argument",
            "error": "Incorrect API key provided: xa***56. See the console.",
        },
    ),
    case(
        "Ollama: the model",
        (
            "error 5: LLM: the model gpt-4o-mini does not exist (any more) (HTTP 404: "
            "model 'gpt-4o-mini' not found). Change `llm.model`."
        ),
        (
            "error 5: LLM: the model gpt-4o-mini does not exist (any more) (HTTP 404: "
            "model 'gpt-4o-mini' not found). Change `llm.model`."
        ),
        NOT_FOUND,
        {"error": "model 'gpt-4o-mini' not found"},
    ),
    case(
        "Ollama: the path",
        (
            "error 5: LLM: there is no such service at HOST (HTTP 404: 404 page not "
            "found). Check `llm.base_url` in the profile."
        ),
        (
            "error 5: LLM: there is no such service at HOST (HTTP 404: 404 page not "
            "found). Check `llm.base_url` in the profile."
        ),
        NOT_FOUND,
        b"404 page not found",
    ),
    case(
        "Azure: the key",
        (
            "error 3: LLM: the key is refused (HTTP 401: Access denied due to invalid "
            "subscription key.). Check OPENAI_API_KEY."
        ),
        (
            "error 3: LLM: the key is refused (HTTP 401: Access denied due to invalid "
            "subscription key.). Check OPENAI_API_KEY."
        ),
        UNAUTHORIZED,
        {
            "statusCode": 401,
            "message": "Access denied due to invalid subscription key.",
        },
    ),
    case(
        "Azure: the deployment",
        (
            "error 5: LLM: there is no such service at HOST (HTTP 404: The API "
            "deployment for this resource does not exist.). Check `llm.base_url` in th…"
        ),
        (
            "error 5: LLM: the model gpt-4o-mini does not exist (any more) (HTTP 404: "
            "The API deployment for this resource does not exist.). Change `llm.model`."
        ),
        NOT_FOUND,
        {
            "error": {
                "code": "DeploymentNotFound",
                "message": "The API deployment for this resource does not exist.",
            }
        },
    ),
    case(
        "Azure: the prompt is filtered",
        (
            "error 5: LLM: a setting is refused (HTTP 400: The response was filtered "
            "due to the prompt triggering the policy.). Check `llm` in the profi…"
        ),
        (
            "error 5: LLM: a content filter declines the prompt (HTTP 400: The response "
            "was filtered due to the prompt triggering the policy.). Say it in other "
            "words."
        ),
        BAD,
        {
            "error": {
                "message": "The response was filtered due to the prompt triggering the policy.",
                "type": None,
                "param": "prompt",
                "code": "content_filter",
                "status": 400,
                "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {}},
            }
        },
    ),
    case(
        "OpenRouter: the prompt is flagged",
        (
            "error 3: LLM: the key may not do this (HTTP 403: Your input was flagged). "
            "Check what the key in OPENAI_API_KEY may do."
        ),
        (
            "error 5: LLM: a content filter declines the prompt (HTTP 403: Your input "
            "was flagged). Say it in other words."
        ),
        FORBIDDEN,
        {
            "error": {
                "code": 403,
                "message": "Your input was flagged",
                "metadata": {
                    "reasons": ["violence"],
                    "flagged_input": "How do I",
                    "provider_name": "x",
                },
            }
        },
    ),
    case(
        "OpenRouter: the provider's words",
        (
            "error 5, temporary: LLM: HOST failed (HTTP 502: Provider returned error). "
            "Try again later."
        ),
        (
            "error 5, temporary: LLM: HOST failed (HTTP 502: Provider returned error: "
            "Model is overloaded). Try again later."
        ),
        "502 Bad Gateway",
        {
            "error": {
                "code": 502,
                "message": "Provider returned error",
                "metadata": {
                    "raw": '{"error":{"message":"Model is overloaded"}}',
                    "provider_name": "x",
                },
            }
        },
    ),
    case(
        "OpenRouter: the model",
        (
            "error 5: LLM: a setting is refused (HTTP 400: gpt-4o-mini is not a valid "
            "model ID). Check `llm` in the profile."
        ),
        (
            "error 5: LLM: the model gpt-4o-mini does not exist (any more) (HTTP 400: "
            "gpt-4o-mini is not a valid model ID). Change `llm.model`."
        ),
        BAD,
        {"error": {"message": "gpt-4o-mini is not a valid model ID", "code": 400}},
    ),
    case(
        "OpenRouter: no credit",
        (
            "error 5: LLM: the account has no credit left (HTTP 402: Insufficient "
            "credits). Top it up; waiting does not help."
        ),
        (
            "error 5: LLM: the account has no credit left (HTTP 402: Insufficient "
            "credits). Top it up; waiting does not help."
        ),
        "402 Payment Required",
        {"error": {"message": "Insufficient credits", "code": 402}},
    ),
    case(
        "llama.cpp: still loading",
        ("error 5, temporary: LLM: HOST failed (HTTP 503: Loading model). Try again later."),
        ("error 5, temporary: LLM: HOST failed (HTTP 503: Loading model). Try again later."),
        "503 Service Unavailable",
        {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}},
    ),
    case(
        "llama.cpp: the prompt is too long",
        (
            "error 5: LLM: a setting is refused (HTTP 400: request (9412 tokens) "
            "exceeds the available context size (8192 tokens)). Check `llm` in the p…"
        ),
        (
            "error 5: LLM: the prompt is too long for the model gpt-4o-mini (HTTP 400: "
            "request (9412 tokens) exceeds the available context size (8192 tokens)). "
            "Lower `llm.history.max_chars` or raise the server's context size."
        ),
        BAD,
        {
            "error": {
                "code": 400,
                "message": "request (9412 tokens) exceeds the available context size (8192 tokens)",
                "type": "exceed_context_size_error",
            }
        },
    ),
    case(
        "OpenAI: the prompt is too long",
        (
            "error 5: LLM: a setting is refused (HTTP 400: This model's maximum context "
            "length is 4096 tokens.). Check `llm` in the profile."
        ),
        (
            "error 5: LLM: the prompt is too long for the model gpt-4o-mini (HTTP 400: "
            "This model's maximum context length is 4096 tokens.). Lower "
            "`llm.history.max_chars` or raise the server's context size."
        ),
        BAD,
        {
            "error": {
                "message": "This model's maximum context length is 4096 tokens.",
                "code": "context_length_exceeded",
            }
        },
    ),
    case(
        "LM Studio: no model",
        (
            "error 5: LLM: a setting is refused (HTTP 400: No models loaded. Please "
            "load a model in the developer page.). Check `llm` in the profile."
        ),
        (
            "error 5: LLM: the model gpt-4o-mini does not exist (any more) (HTTP 400: "
            "No models loaded. Please load a model in the developer page.). Change "
            "`llm.model`."
        ),
        BAD,
        {
            "error": {
                "message": "No models loaded. Please load a model in the developer page.",
                "type": "invalid_request_error",
                "param": "model",
            }
        },
    ),
    case(
        "vLLM: the model",
        (
            "error 5: LLM: the model gpt-4o-mini does not exist (any more) (HTTP 404: "
            "The model `gpt-4o-mini` does not exist.). Change `llm.model`."
        ),
        (
            "error 5: LLM: the model gpt-4o-mini does not exist (any more) (HTTP 404: "
            "The model `gpt-4o-mini` does not exist.). Change `llm.model`."
        ),
        NOT_FOUND,
        {
            "object": "error",
            "message": "The model `gpt-4o-mini` does not exist.",
            "type": "NotFoundError",
            "param": None,
            "code": 404,
        },
    ),
    case(
        "Anthropic: an envelope",
        ("error 3: LLM: the key is refused (HTTP 401: invalid x-api-key). Check OPENAI_API_KEY."),
        ("error 3: LLM: the key is refused (HTTP 401: invalid x-api-key). Check OPENAI_API_KEY."),
        UNAUTHORIZED,
        {
            "type": "error",
            "error": {"type": "authentication_error", "message": "invalid x-api-key"},
        },
    ),
    case(
        "Cloudflare: a list",
        "error 5, temporary: LLM: HOST failed (HTTP 500). Try again later.",
        ("error 5, temporary: LLM: HOST failed (HTTP 500: Model failed; Retry). Try again later."),
        OOPS,
        {
            "success": False,
            "errors": [{"code": 10000, "message": "Model failed"}, {"code": 7, "message": "Retry"}],
        },
    ),
    case(
        "Spring: two texts",
        ("error 5: LLM: a setting is refused (HTTP 400: Bad Request). Check `llm` in the profile."),
        (
            "error 5: LLM: a setting is refused (HTTP 400: Bad Request: The prompt is "
            "malformed). Check `llm` in the profile."
        ),
        BAD,
        {
            "status": 400,
            "error": "Bad Request",
            "message": "The prompt is malformed",
            "path": "/v1",
        },
    ),
    case(
        "AWS: a capital letter",
        (
            "error 3: LLM: the key may not do this (HTTP 403). Check what the key in "
            "OPENAI_API_KEY may do."
        ),
        (
            "error 3: LLM: the key may not do this (HTTP 403: User is not authorized). "
            "Check what the key in OPENAI_API_KEY may do."
        ),
        FORBIDDEN,
        {"Message": "User is not authorized"},
    ),
    case(
        "plain text",
        (
            "error 5, temporary: LLM: HOST failed (HTTP 500: upstream connect error). "
            "Try again later."
        ),
        (
            "error 5, temporary: LLM: HOST failed (HTTP 500: upstream connect error). "
            "Try again later."
        ),
        OOPS,
        b"upstream connect error",
    ),
    case(
        "a page: bad gateway",
        (
            "error 5, temporary: LLM: HOST failed (HTTP 502: <html><head><title>502 Bad "
            "Gateway</title></head><body><h1>nginx</h1></body></html>). Try a…"
        ),
        (
            "error 5, temporary: LLM: HOST failed (HTTP 502: a page: 502 Bad Gateway). "
            "Try again later."
        ),
        "502 Bad Gateway",
        b"<html><head><title>502 Bad Gateway</title></head><body><h1>nginx</h1></body></html>",
    ),
    case(
        "a page: blocked on the way",
        (
            "error 3: LLM: the key may not do this (HTTP 403: <!DOCTYPE "
            "html><html><head><title>Attention Required! | "
            "Cloudflare</title></head></html>).…"
        ),
        (
            "error 5: LLM: HOST answers with a web page (HTTP 403: a page: Attention "
            "Required! | Cloudflare). Check `llm.base_url`, the proxy and the network's "
            "sign-in."
        ),
        FORBIDDEN,
        b"<!DOCTYPE html><html><head><title>Attention Required! | Cloudflare</title></head></html>",
    ),
    case(
        "a page: the method is not allowed",
        (
            "error 5: LLM: HOST refuses the request (HTTP 405: <html><head><title>405 "
            "Not Allowed</title></head></html>)"
        ),
        (
            "error 5: LLM: there is no such service at HOST (HTTP 405: a page: 405 Not "
            "Allowed). Check `llm.base_url` in the profile."
        ),
        "405 Method Not Allowed",
        b"<html><head><title>405 Not Allowed</title></head></html>",
    ),
    case(
        "nothing",
        "error 5, temporary: LLM: HOST failed (HTTP 500). Try again later.",
        "error 5, temporary: LLM: HOST failed (HTTP 500). Try again later.",
        OOPS,
        b"",
    ),
    case(
        "no UTF-8",
        "error 5, temporary: LLM: HOST failed (HTTP 500: ��). Try again later.",
        "error 5, temporary: LLM: HOST failed (HTTP 500: ��). Try again later.",
        OOPS,
        b"\xff\xfe",
    ),
    case(
        "a number",
        "error 5, temporary: LLM: HOST failed (HTTP 500). Try again later.",
        "error 5, temporary: LLM: HOST failed (HTTP 500). Try again later.",
        OOPS,
        5,
    ),
    case(
        "true",
        "error 5, temporary: LLM: HOST failed (HTTP 500). Try again later.",
        ("error 5, temporary: LLM: HOST failed (HTTP 500: It is broken). Try again later."),
        OOPS,
        {"error": True, "message": "It is broken"},
    ),
    case(
        "nested without end",
        (
            "error 5, temporary: LLM: HOST failed (HTTP 500: "
            '{"error":{"error":{"error":{"error":{"error":{"error":{"error":{"error":{"e'
            'rror":{"error":{…'
        ),
        (
            "error 5, temporary: LLM: HOST failed (HTTP 500: "
            '{"error":{"error":{"error":{"error":{"error":{"error":{"error":{"error":{"e'
            'rror":{"error":{"error":{"error":{"error":{"error":{"error":{"error":{"erro'
            'r":{"error":{"error":{"error":{"error":{"error":{"e…'
        ),
        OOPS,
        b'{"error":' * 5000,
    ),
    case(
        "a text of a megabyte",
        (
            "error 5, temporary: LLM: HOST failed (HTTP 500: word word word word word "
            "word word word word word word word word word word word word word w…"
        ),
        (
            "error 5, temporary: LLM: HOST failed (HTTP 500: word word word word word "
            "word word word word word word word word word word word word word word word "
            "word word word word word word word word word word word word word word word "
            "word word word word word w…"
        ),
        OOPS,
        b"word " * 200_000,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_refusal_keeps_its_message_and_its_meaning(case: ChatCase) -> None:
    assert case.outcome() == case.after
