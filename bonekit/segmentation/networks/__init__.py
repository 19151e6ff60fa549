"""Networks: `build(task, plan)`; MONAI's, UNeXt and GELAN."""

from bonekit.segmentation.networks.build import Network, build, count_parameters, inference_state

__all__ = ["Network", "build", "count_parameters", "inference_state"]
