"""Recordings, what is said in them, and how fast."""
