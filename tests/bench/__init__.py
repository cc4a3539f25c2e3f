"""Benchmarks: how long the user waits, how often they are cut off, what the program itself costs.

    python -m tests.bench            waiting, fast, overhead, load and startup: 15 minutes
    python -m tests.bench load       one part, or several
    python -m tests.bench --brief    only to show that they run

waiting    mouth-to-ear, sentences cut, drafts discarded and LLM calls by strategy (classic,
           endpointing, the default, and the default without drafts, hedges and the like), over
           scripted services with log-normal and with fixed latencies, and users who pause within
           sentences.  Virtual time.
fast       forty short turns in two minutes: whether the limits of the TTS slow them down.  Virtual
           time.
overhead   what the program adds to the services' latencies and the chosen waits.  Real time; the
           stand-ins run in a process of their own.
load       CPU, memory and loop lag of 1 to 64 conversations in one process, with Silero and with
           Smart Turn, against bars.  Real time, four minutes.
startup    the time to --help, and of replay and talk to the first audio sent.
local      the embedded stack: recorded sentences, and 40 questions in one conversation.  Real time,
           six minutes; needs the extra `local` and the models.
corpus     memory over 2,000 recordings in virtual time, ten minutes; mouth-to-ear of 1 to 32
           sessions side by side in one process, in real time, eight minutes.
scale      a run of 500 replays by one process, by two, by Dask and in four shards: the same
           numbers, throughput, loop lag.  Virtual time, and a smaller one in real time; 6 minutes.
devices    talk through a virtual microphone and loudspeaker, both recorded: printed against
           recorded mouth-to-ear, barge-in, false alarms, echo.  15 minutes; needs PulseAudio.
soak       the same for half an hour: memory, drift of the recorded channels, xruns.

Everything compared in a table comes from one run.  bench.json keeps the numbers by part.
"""
