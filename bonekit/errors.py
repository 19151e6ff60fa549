"""The exceptions bonekit raises on purpose.

Every message names the thing, what was found, what is allowed and what to do next.
The command line exits with 2 for an `InputError` and with 1 for the others.
"""


class InputError(ValueError):
    """The input or the configuration is at fault: image, mask, geometry, units, case file."""


class CalibrationError(RuntimeError):
    """A density calibration can't be made or doesn't apply to this image."""


class MeshQualityError(RuntimeError):
    """A mesh was made but is not fit for a simulation."""


class ConvergenceError(RuntimeError):
    """A solve ended without reaching its tolerance."""
