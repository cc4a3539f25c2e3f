"""A voice agent in your terminal that measures its own latency.

Layers, from the bottom; imports point down only (``[tool.importlinter]`` in pyproject.toml):

    units clock errors sanitize settings    numbers, time, errors, how a setting is declared
    environment                             folders, proxies and TLS, as the environment says
    events timeline                         the vocabulary of a conversation, and its log
    turns text metrics                      pure rules and folds: no I/O, no clock, no task
    models                                  the model files: pins, folder, download
    audio services standin                  adapters: sound, STT/LLM/TTS, local servers
    cassette                                services recorded, and served again
    profile                                 the settings of a run, validated before anything opens
    pipeline                                the conversation that every command shares
    report terminal probe cli               output and commands
    corpus                                  recordings as a regression suite

A turn, from speech to reply:

    source ─▶ detector ─────▶ SpeechStarted, SpeechStopped ──────┐
       └────▶ transcriber ──▶ InterimTranscript, FinalTranscript ┤ events, stamped on arrival
                                                                 ▼
    timeline ◀─ append ─ Session: for action in TurnMachine.handle(event): perform it
                           │ DraftReply             │ CommitReply      │ CancelReply
                           ▼                        ▼                  ▼
                   responder drafts a reply   reply is played   silence the sink, cancel

    reply: LLM ─▶ tokens ─▶ chunker ─▶ clauses ─▶ TTS ─▶ audio ─▶ sink ─▶ heard

The rules:

- Events are facts, actions are orders; both are frozen data (``events``).
- ``turns.machine`` decides who has the floor from events alone; the session does the I/O.
- Time is a number in the event, taken from one clock, the event loop's (``clock``).
- A session is its timeline.  Metrics, transcripts, chat history and reports are folds over it.
- Tasks are created in ``pipeline``, ``probe`` and the stand-in servers, in a TaskGroup, named.
- Adapters own no task, queue or callback, and translate foreign errors into ``errors``.
- Milliseconds exist in profiles, options and tables; inside, durations are seconds.

Start reading at ``events``, ``turns.machine``, ``pipeline.session`` and ``pipeline.reply``.
"""

import os

__version__ = "0.1.0"

# onnxruntime, which the extras bring, sends usage data to Microsoft and keeps a device ID unless
# this is set before it is imported (Privacy.md in its package).  No other dependency does.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# No matrix here is large enough for a second thread.  OpenBLAS, which numpy's wheels contain,
# starts one per core when it is loaded: 0.1 s of the other core (2 cores, Intel Xeon, n = 4).
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
