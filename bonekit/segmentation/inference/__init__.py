"""Prediction: tiles, slices or whole volumes; on the grid of the files, in bounded memory."""
