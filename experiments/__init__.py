"""The join of the layers: decoder, splits, training, live use, report, demo."""
