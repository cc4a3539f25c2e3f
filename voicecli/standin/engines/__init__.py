"""What the stand-ins recognise, answer and speak with: scripts or small local models."""
