"""Fast text for decks: columns of numbers as bytes, by numpy.

Writing a line at a time takes several seconds for a million elements; here whole columns of
digits are made at once, from a table of four digits each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Bytes: TypeAlias = NDArray[np.uint8]
Numbers: TypeAlias = NDArray[np.int64]

ROWS = 50_000  # made at a time, so that they stay in the cache
PAD = "\0"  # fill that `lines` leaves out again
FOUR = np.array([f"{i:04d}" for i in range(10_000)], dtype="S4").view(np.uint8).reshape(-1, 4)


def digits(values: Numbers, width: int = 0, fill: str = " ") -> Bytes:
    """Decimal digits of numbers, right-aligned.

    Parameters
    ----------
    values : ndarray of int, (n,) or (n, k)
        From 0 to 4294967295.
    width : int
        Of each number; 0: that of the largest.
    fill : str
        In front of them. `PAD` vanishes in `lines`.

    Returns
    -------
    ndarray of uint8, (n, k * width)
    """
    table = np.asarray(values)
    numbers = table.reshape(len(table), math.prod(table.shape[1:])).astype(np.uint32)
    width = width or len(str(numbers.max(initial=0)))
    out = np.empty((*numbers.shape, width + 3), dtype=np.uint8)  # whole groups of four fit
    rest = numbers
    for end in range(width + 3, 3, -4):
        rest, low = np.divmod(rest, 10_000)
        out[..., end - 4 : end] = FOUR[low]
    out = out[..., 3:]
    for place in range(width - 1):
        out[..., place][numbers < min(10 ** (width - 1 - place), 2**32 - 1)] = ord(fill)
    return out.reshape(len(numbers), numbers.shape[1] * width)


def reals(values: NDArray[np.float64], form: str) -> Bytes:
    """Numbers by a format of fixed width such as ``%16.9e``, (n, k) -> (n, k * width)."""
    text = (form * values.size) % tuple(values.ravel().tolist())
    letters = np.frombuffer(text.encode("ascii"), dtype=np.uint8)
    return letters.reshape(len(values), letters.size // max(len(values), 1))


def lines(columns: Sequence[str | Bytes]) -> bytes:
    """One line for each row of the arrays; a string stands in every line."""
    rows = next(len(c) for c in columns if not isinstance(c, str))
    full = [_repeated(c, rows) if isinstance(c, str) else c for c in (*columns, "\n")]
    return np.concatenate(full, axis=1).tobytes().translate(None, PAD.encode())


def between(separator: str, numbers: Numbers, width: int = 0) -> list[str | Bytes]:
    """Columns of numbers, (n, k), with a separator between them, to be packed by `lines`."""
    width = width or len(str(numbers.max(initial=0)))
    out: list[str | Bytes] = []
    for column in numbers.T:
        out += [digits(column, width, PAD), separator]
    return out[:-1]


def blocks(n_rows: int) -> Iterator[slice]:
    """Split rows to parts of `ROWS`."""
    for start in range(0, n_rows, ROWS):
        yield slice(start, min(start + ROWS, n_rows))


def wrapped(numbers: Numbers, per_line: int, width: int = 0, separator: str = "") -> bytes:
    """Numbers in lines of `per_line`, the last shorter; without a width as short as they are."""
    full = len(numbers) // per_line * per_line
    out = b""
    for part in (numbers[:full].reshape(-1, per_line), numbers[full:].reshape(1, -1)):
        if part.size:
            columns = [digits(part, width)] if width else between(separator, part)
            out += lines(columns)
    return out


def _repeated(text: str, rows: int) -> Bytes:
    return np.broadcast_to(np.frombuffer(text.encode("ascii"), dtype=np.uint8), (rows, len(text)))
