"""Segmentation: one protocol, a deterministic CT baseline and imported masks."""

from bonekit.segmentation.base import BONES, REGIONS, Finding, Segmentation, Segmenter

__all__ = ["BONES", "REGIONS", "Finding", "Segmentation", "Segmenter"]
