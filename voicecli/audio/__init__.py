"""Audio: sources, sinks, detectors, resampling, recording and echo cancellation."""
