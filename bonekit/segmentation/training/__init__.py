"""Training: a plain loop that can be killed and taken up again.

`bonekit.segmentation.training.train.train` trains; `settings.TrainSettings` says how. The settings
load without torch.
"""

from bonekit.segmentation.training.settings import TrainSettings

__all__ = ["TrainSettings"]
