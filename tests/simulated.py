"""Recordings of the simulated participant, made without LSL."""

from physioemo.acquisition.simulate import simulated_recording

__all__ = ["simulated_recording"]
