"""Ctrl-C ends the tests, and what they start, even where a shell runs them in the background."""

import signal

signal.signal(signal.SIGINT, signal.default_int_handler)
