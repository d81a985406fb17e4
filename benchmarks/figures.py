"""Arithmetic on samples. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence


def percentile(samples: Sequence[float], percent: float) -> float | None:
    """The smallest sample that at least `percent` of all do not exceed (nearest rank); None without samples."""
    if not samples:
        return None
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def median(samples: Iterable[float | None]) -> float | None:
    known = [sample for sample in samples if sample is not None]
    return statistics.median(known) if known else None
