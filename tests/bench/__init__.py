"""How long the user waits, how often they are cut off, and what the program itself costs.

    python -m tests.bench            a to d, about ten minutes
    python -m tests.bench e          one part, or several

a   classic, endpointing, vad with and without drafts and hedges, over the same scripted services
    with log-normal latencies and a share of stalls, and users who pause within their sentences:
    mouth-to-ear, sentences cut, drafts discarded, LLM calls.  And the case of fixed latencies.
    Virtual time.
b   what the program adds to the latencies of the services and the waits that were chosen; classic
    beside it.  Real time, the stand-ins in a process of their own.
c   CPU, memory and lateness for 1, 8, 32 and 64 conversations in one process.  Likewise.
d   start-up: --help, and replay to the first audio sent.
e   talk through a virtual microphone and loudspeaker, both recorded at once: what is printed
    against what is heard, how soon a barge-in silences the reply, what coughs, back-channels and
    echoes do to it.  A quarter of an hour; needs PulseAudio, as the tests on devices do.
f   half an hour of the same: memory, drift of the recorded channels, xruns.

What is compared is compared in one run.  The numbers are kept in bench.json.
"""
