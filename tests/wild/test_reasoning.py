"""Replies with reasoning, tool calls or control tokens in their text: only the answer is spoken."""

from __future__ import annotations

import pytest

from tests.support.conversations import converse, profile
from tests.support.speech_like import alternate_speech
from tests.wild import Case
from tests.wild.spoken import Row, speak
from voicecli.standin.script import LlmScript, Script

ROWS = [
    Row(
        "<think>",
        "<think>The user greets. Say hi.</think>\n\nHello there, friend.",
        "The user greets. Say hi. Hello there, friend.",
        "Hello there, friend.",
    ),
    Row(
        "<thinking>, closed by </think>",
        "<thinking>\nIt is a greeting.\n</think>Hello.",
        "It is a greeting. Hello.",
        "Hello.",
    ),
    Row(
        "<reasoning>",
        "<reasoning>Noon, so lunch.</reasoning> It is noon.",
        "Noon, so lunch. It is noon.",
        "It is noon.",
    ),
    Row(
        "<thought> within the answer",
        "It is noon. <thought>Lunch?</thought> Time for lunch.",
        "It is noon. Lunch? Time for lunch.",
        "It is noon. Time for lunch.",
    ),
    Row(
        "nested tags",
        "<thinking>One.<reflection>Two.</reflection>Three.</thinking>Four.",
        "One.Two.Three.Four.",
        "Four.",
    ),
    Row("Magistral: [THINK]", "[THINK]Say hi.[/THINK]Hello.", "THINKSay hi./THINKHello.", "Hello."),
    Row("Kimi: ◁think▷", "◁think▷Say hi.◁/think▷Hello.", "think Say hi. /think Hello.", "Hello."),
    Row(
        "OpenThinker",
        (
            "<|begin_of_thought|>Say hi.<|end_of_thought|>\n<|begin_of_solution|>Hello.<|end"
            "_of_solution|>"
        ),
        "<, begin_of_thought, >Say hi.<, end_of_thought, >. <, begin_of_solution, >H…",
        "Hello.",
    ),
    Row(
        "Command A",
        "<|START_THINKING|>Say hi.<|END_THINKING|><|START_RESPONSE|>Hello.<|END_RESPONSE|>",
        "<, START_THINKING, >Say hi.<, END_THINKING, ><, START_RESPONSE, >Hello.<, E…",
        "Hello.",
    ),
    Row(
        "Seed-OSS",
        "<seed:think>Say hi.</seed:think>Hello.",
        "<seed:think>Say hi.</seed:think>Hello.",
        "Hello.",
    ),
    Row(
        "Gemma 4",
        "<|channel>thought\nSay hi.<channel|>Hello.",
        "<, channel>thought. Say hi.<channel, >Hello.",
        "Hello.",
    ),
    Row(
        "gpt-oss: channels",
        (
            "<|channel|>analysis<|message|>Say hi.<|end|><|start|>assistant<|channel|>final"
            "<|message|>Hello.<|return|>"
        ),
        "<, channel, >analysis<, message, >Say hi.<, end, ><, start, >assistant<, ch…",
        "Hello.",
    ),
    Row(
        "gpt-oss: commentary",
        (
            '<|channel|>commentary to=functions.look <|constrain|>json<|message|>{"a": 1}<|'
            "call|><|start|>assistant<|channel|>final<|message|>Hello."
        ),
        "<, channel, >commentary to=functions.look <, constrain, >json<, message, >{…",
        "Hello.",
    ),
    Row(
        "gpt-oss: tokens lost",
        "analysisWe should greet.assistantfinalHello.",
        "analysisWe should greet.assistantfinalHello.",
        "Hello.",
    ),
    Row(
        "Granite 3.2",
        "Here is my thought process: greet. Here is my response: Hello.",
        "Here is my thought process: greet. Here is my response: Hello.",
        "Hello.",
    ),
    Row(
        "the ollama command",
        "Thinking...\nGreet.\n...done thinking.\n\nHello.",
        "Thinking... Greet. ...done thinking. Hello.",
        "Hello.",
    ),
    Row(
        "Open WebUI",
        (
            '<details type="reasoning" done="true"><summary>Thought</summary>Greet.</detail'
            "s>\nHello."
        ),
        "ThoughtGreet. Hello.",
        "Hello.",
    ),
    Row("never closed", "<think>The user greets. I should", "The user greets. I should", ""),
    Row(
        "only </think>",
        "Okay, so the user greets me. Say hi.</think>\n\nHello there, friend.",
        "Okay, so the user greets me. Say hi. Hello there, friend.",
        "Hello there, friend.",
    ),
    Row(
        "only </think>, Chinese",
        "好的，用户打招呼了。</think>你好。",
        "好的，用户打招呼了。你好。",
        "你好。",
    ),
    Row("empty", "<think>\n\n</think>\n\nHello.", "Hello.", "Hello."),
    Row(
        "quoted",
        "Write `<think>` before it.",
        "Write <think> before it.",
        "Write <think> before it.",
    ),
    Row(
        "about users",
        "The user guide is on the desk.",
        "The user guide is on the desk.",
        "The user guide is on the desk.",
    ),
    Row(
        "tool call",
        '<tool_call>\n{"name": "clock"}\n</tool_call>It is noon.',
        '{"name": "clock"} It is noon.',
        "It is noon.",
    ),
    Row(
        "tool call, Mistral",
        'Let me see. [TOOL_CALLS][{"name": "clock"}]',
        'Let me see. TOOL_CALLS{"name": "clock"}',
        "Let me see.",
    ),
    Row(
        "stop token ignored",
        "It is noon.<|im_end|>\n<|im_start|>user\nThanks!<|im_end|>",
        "It is noon.<, im_end, >. <, im_start, >user. Thanks!<, im_end, >",
        "It is noon.",
    ),
    Row(
        "writes the user's turn",
        "It is noon.\n\nUser: Thanks!\n\nAssistant: Welcome!",
        "It is noon. User: Thanks! Assistant: Welcome!",
        "It is noon.",
    ),
    Row("speaker label", "Assistant: It is noon.", "Assistant: It is noon.", "It is noon."),
    Row(
        "header tokens",
        "<|start_header_id|>assistant<|end_header_id|>\n\nIt is noon.<|eot_id|>",
        "<, start_header_id, >assistant<, end_header_id, >. It is noon.<, eot_id, >",
        "It is noon.",
    ),
]

CASES = [
    Case(
        "reasoning",
        row.name,
        f'says "{row.before}"',
        f'says "{row.after}"' if row.after else "apologises",
    )
    for row in ROWS
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_only_the_answer_is_spoken(row: Row):
    assert speak(row.written) == (row.after, bool(row.after))


@pytest.mark.parametrize(
    ("opening", "settings"),
    [("<think>", ()), ("Okay, the user says hi. ", ()), ("", ("llm.reasoning=unopened",))],
)
def test_in_a_conversation_it_is_neither_spoken_nor_remembered_but_waited_for(
    opening: str, settings: tuple[str, ...]
) -> None:
    thoughts = f"{opening}They greet. Say hi.</think>"
    speech, _ = alternate_speech(0.5, 1.2, 6.0, 1.2, 6.0)
    script = Script(llm=LlmScript(says=(f"{thoughts} It is noon.",)))
    talk = converse(profile(*settings), script, speech)
    assert [turn.said for turn in talk.turns] == ["It is noon."] * 2
    assert "greet" not in str(talk.requests)
    late = script.llm.ttft.p50 + len(thoughts.split()) * script.llm.token.p50
    assert [turn.raw["llm.ttft"] for turn in talk.turns] == [pytest.approx(late, abs=0.002)] * 2
