"""Landmarks and anatomical frames of segmented bones."""
