"""A voice agent in your terminal that proves its own latency."""

__version__ = "0.1.0"
