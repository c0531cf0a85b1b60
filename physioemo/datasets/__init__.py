"""Readers of published emotion data sets, each with the writer of its own fixture."""
