"""Recordings as a regression suite: labels, units of work, sweeps, baselines."""
