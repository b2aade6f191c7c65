"""The table that ends a comparison: what was compared, and whether what is demanded of the ratio was met."""

from __future__ import annotations

import dataclasses
import statistics


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table: two ways to the same answer, and what is demanded of their ratio."""

    what: str
    ours: list[float]
    theirs: list[float]
    # Whether the ratio tells how many times as fast ours is, and not how many times as slow.
    faster: bool = False
    at_least: float | None = None
    at_most: float | None = None
    unit: str = "s"

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios: what else the machine does changes both sides of a round alike."""
        above, below = (self.theirs, self.ours) if self.faster else (self.ours, self.theirs)
        return statistics.median(one / other for one, other in zip(above, below, strict=True))

    @property
    def met(self) -> bool:
        enough = self.at_least is None or self.ratio >= self.at_least
        return enough and (self.at_most is None or self.ratio <= self.at_most)

    def cells(self) -> tuple[str, ...]:
        times = (f"{statistics.median(values):.4g} {self.unit}" for values in (self.ours, self.theirs))
        shown = f"{'theirs/ours' if self.faster else 'ours/theirs'} {self.ratio:.2f}"
        if self.at_least is None and self.at_most is None:
            return (self.what, *times, shown, "-", "-")
        demanded = f"<= {self.at_most}" if self.at_least is None else f">= {self.at_least}"
        return (self.what, *times, shown, demanded, "yes" if self.met else "NO")


def say(text: str) -> None:
    print(f"       {text}", flush=True)


def report(rows: list[Row]) -> None:
    table = [("what", "ours", "theirs", "ratio", "demanded", "met"), *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    print()
    for cells in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())
    print("\nFigures are medians of the rounds, and so are ratios.\n")
