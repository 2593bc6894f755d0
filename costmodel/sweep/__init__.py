"""Sweeps: closed forms over a grid, streamed to a file, and searched."""
