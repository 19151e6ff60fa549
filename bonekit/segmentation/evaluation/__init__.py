"""Predictions judged against references."""
