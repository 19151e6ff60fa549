"""How good predictions are: overlap, surfaces, volumes, lesions, calibration, with intervals."""

from bonekit.segmentation.evaluation.evaluate import Evaluation, evaluate, gather
from bonekit.segmentation.evaluation.pairs import Pair, pairs_of
from bonekit.segmentation.evaluation.report import write_report
from bonekit.segmentation.evaluation.score import Score, compare, score
from bonekit.segmentation.evaluation.summary import Estimate, estimate

__all__ = [
    "Estimate",
    "Evaluation",
    "Pair",
    "Score",
    "compare",
    "estimate",
    "evaluate",
    "gather",
    "pairs_of",
    "score",
    "write_report",
]
