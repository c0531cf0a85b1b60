"""Windows become tokens: band differential entropy, heart-rate variability."""
