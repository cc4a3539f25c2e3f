"""Who has the floor.  Pure: no I/O, no clock, no task."""
