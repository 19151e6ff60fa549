"""How a run tells where it is."""

from collections.abc import Callable

# Called with the stage, the fraction done (0 to 1) and a few words.
Progress = Callable[[str, float, str], None]


def silent(stage: str, fraction: float, text: str) -> None:
    """Report progress to nobody."""
