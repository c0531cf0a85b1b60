"""Streams become a recording: discovery, recorder, replay, simulator."""
