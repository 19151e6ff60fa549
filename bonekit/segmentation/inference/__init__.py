"""Prediction: tiles, slices or whole volumes; on the grid of the files, in bounded memory."""

from bonekit.segmentation.inference.files import to_files
from bonekit.segmentation.inference.predict import Prediction, predict
from bonekit.segmentation.inference.settings import PredictSettings
from bonekit.segmentation.inference.verdict import Verdict

__all__ = ["PredictSettings", "Prediction", "Verdict", "predict", "to_files"]
