"""What is told of a session: lines for a terminal, and JSON.

Plain text first: no colour carries a meaning, and what a service said is washed before it is shown.
"""
