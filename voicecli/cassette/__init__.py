"""Cassettes: what the services said in a session, with its timing, to be served again.

    recorder    writes a cassette while a session runs; the adapters report to it
    format      the files: JSON lines, and FLAC for audio that is kept
    levels      audio as levels, from which tones of the same loudness and length are made
    reader      reads a cassette; errors name FILE:LINE
    player      serves it: the stand-in in the place of the services
    listen, speak, chat     what the player says in the place of STT, TTS and LLM
    difference  a request that was not recorded

The adapters report their traffic, and no proxy sits between them and the services: a recorded
session keeps the services' own latencies, connections and proxies, and the times in the cassette
are those at which messages entered the process.  What is recorded is what crossed the wire, so a
cassette is served by a server, and everything of the program runs as in the session.
"""
