"""Student's t: how likely a difference as large as the measured one is when there is none."""

import math
from collections.abc import Mapping


def p_value(t: float, degrees: int) -> float:
    """The probability that |T| >= |t| for Student's T with a whole number of degrees of freedom.

    The finite sums of Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4. An infinite t has
    the probability 0. The sums are subtracted from 1, so the error is about 1e-15.
    """
    if math.isinf(t):
        return 0.0
    angle = math.atan(abs(t) / math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for k in range(1 + odd, degrees, 2):  # 1, 3, 5, ... or 2, 4, 6, ...
        total += term
        term *= cosine**2 * k / (k + 1)
    within = 2 / math.pi * (angle + sine * total) if odd else sine * total
    return max(0.0, 1.0 - within)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """The p-values of several comparisons, corrected so that one of them falls below 0.05 by luck in 1 case of 20.

    Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure": the smallest of n is multiplied by n, the next
    one by n - 1, and so on; none becomes smaller than the one before it, or larger than 1.
    """
    corrected, largest = {}, 0.0
    ordered = sorted(p_values.items(), key=lambda item: item[1])
    for i, (name, p) in enumerate(ordered):
        largest = max(largest, min(1.0, p * (len(ordered) - i)))
        corrected[name] = largest
    return corrected
