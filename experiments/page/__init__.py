"""The operator's page: a live or stored session in a browser on this computer."""
