"""A session or a corpus as one HTML file that needs nothing else: no network, no other file.

Pictures are modules that turn plain data into inline SVG, without I/O.  All markup is built by
htpy, which escapes text and attributes unless they are markup already.
"""
