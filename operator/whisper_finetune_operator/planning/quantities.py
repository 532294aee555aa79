"""Quantities as Kubernetes writes them, such as `10Gi` or `500m`."""

import math
import re
from functools import lru_cache

#: The admin's file is checked with this pattern, and quantities are read with it here.
PATTERN = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"
_FACTORS = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12} | {
    f"{letter}i": 1024.0**power for power, letter in enumerate("KMGT", start=1)
}


@lru_cache(maxsize=256)
def parse_quantity(quantity: str) -> float:
    """Return the number that a quantity stands for: bytes, cores, or a count."""
    number, unit = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", quantity).groups()  # type: ignore[union-attr]  # by PATTERN
    return float(number) * _FACTORS[unit]


def quantity_of_bytes(number: float) -> str:
    """Return a number of bytes, in whole mebibytes, as the API server writes it: `23Gi` and not `23552Mi`."""
    mebibytes = math.ceil(number / _FACTORS["Mi"])
    units = ((unit, int(_FACTORS[unit] / _FACTORS["Mi"])) for unit in ("Ti", "Gi", "Mi"))
    return next(f"{mebibytes // size}{unit}" for unit, size in units if mebibytes % size == 0)
