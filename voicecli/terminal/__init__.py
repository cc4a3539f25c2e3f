"""The terminal of a live conversation: keys, typed lines, and the live display."""
