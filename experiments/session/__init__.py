"""Closed-loop sessions: declared once, run unattended, verified afterwards."""
