"""Folds over a timeline: turns, stages, usage, cost, summaries and thresholds.  Pure."""
