"""Tokens become predictions: the inter-cortical transformer and its training."""
