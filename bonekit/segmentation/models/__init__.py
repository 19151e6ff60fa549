"""Trained models on disk: weights, task, plan and card, in and out."""
