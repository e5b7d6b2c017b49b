"""Quantities as Kubernetes writes them (`500m`, `128Mi`), and as numbers to compare: 0.5 is 500m. Pure."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from zun_coe.model import bytes_of

_BINARY = {suffix: 1 << (10 * power) for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_FACTORS = {s: Decimal(f) for s, f in _BINARY.items()} | {s: Decimal(1).scaleb(p) for s, p in _DECIMAL.items()}
_QUANTITY = re.compile(r"([+-]?[0-9]*\.?[0-9]*(?:[eE][+-]?[0-9]+)?)([A-Za-z]{0,2})")
_LONGEST = 40
"""So many characters of a quantity are read. Servers write far fewer, and none that means more than `_LARGEST`."""
_LARGEST = 30
"""Figures before the point; what is beyond is no quantity, and would take for ever to be written out."""
_UNITS = (("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10))


def number_of(quantity: Any) -> Decimal | None:
    """The number that a quantity means, None where it is none."""
    text = str(quantity)
    match = _QUANTITY.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None or match[2] not in _FACTORS or not any(c.isdigit() for c in match[1]):
        return None
    number = Decimal(match[1])
    return number * _FACTORS[match[2]] if abs(number.adjusted()) <= _LARGEST else None


def of_cpus(cpus: float) -> str:
    """0.25 → 250m, 2.0 → 2. Kubernetes counts in thousandths; what is finer is rounded up."""
    thousandths = milli(cpus)
    return str(thousandths // 1000) if thousandths % 1000 == 0 else f"{thousandths}m"


def milli(cpus: float) -> int:
    """Thousandths of a CPU, rounded up."""
    exact = Decimal(str(cpus)) * 1000
    return int(exact.to_integral_value(rounding="ROUND_CEILING"))


def of_size(size: str) -> str:
    """1.5Gi → 1536Mi: as the API server writes it itself."""
    count = bytes_of(size)
    return next((f"{count // unit}{name}" for name, unit in _UNITS if count and count % unit == 0), str(count))


def size_of(quantity: Any) -> str | None:
    """The other way: a quantity in the words of a specification, None where these cannot say it."""
    count = number_of(quantity)
    if count is None or count != count.to_integral_value() or int(count) % 1024:
        return None
    return of_size(f"{int(count) // 1024}Ki")
