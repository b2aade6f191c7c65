"""What a run of the legitimate mix has measured, and how it compares with another one."""

from __future__ import annotations

import collections
import dataclasses

# Guaranteed: at most this many times as long as without an attack.
FACTOR = 3
# Below this a difference says nothing: attacker, clients and server share few processors, and each of them waits for a
# slice of time now and then. Three times the 9 ms of a pull is within that.
FLOOR = 0.1


def percentile(values: list[float], share: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * share // 100)]


@dataclasses.dataclass
class Measures:
    """Seconds of each operation that succeeded, and what was said where one did not."""

    times: dict[str, list[float]] = dataclasses.field(default_factory=lambda: collections.defaultdict(list))
    failures: list[str] = dataclasses.field(default_factory=list)

    def p50(self, operation: str) -> float:
        return percentile(self.times[operation], 50)

    def p95(self, operation: str) -> float:
        return percentile(self.times[operation], 95)

    def __str__(self) -> str:
        shown = [
            f"{name} {len(times)} times, p50 {1000 * self.p50(name):.0f} ms, p95 {1000 * self.p95(name):.0f} ms"
            for name, times in sorted(self.times.items())
        ]
        return "; ".join([*shown, f"{len(self.failures)} failures"])


def slower(calm: Measures, attacked: Measures, bounds: dict[str, float] | None = None) -> list[str]:
    """The operations that take longer than they may, or never succeeded. bounds: seconds, for some of them."""
    complaints = []
    for operation, times in sorted(calm.times.items()):
        bound = (bounds or {}).get(operation) or max(FACTOR * percentile(times, 95), FLOOR)
        if not attacked.times.get(operation):
            complaints.append(f"{operation}: never succeeded")
        elif (took := attacked.p95(operation)) > bound:
            complaints.append(f"{operation}: p95 {1000 * took:.0f} ms, and {1000 * bound:.0f} ms are the bound")
    return complaints
