"""The stimulus player: what the participant sees and hears, every flip published over LSL."""
