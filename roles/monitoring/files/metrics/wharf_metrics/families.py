# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Families of Prometheus: as text of format 0.0.4, and as what is kept over a restart."""

from __future__ import annotations

import bisect
import math

_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_LONGEST_LABEL = 255


def label(text):
    """A text from elsewhere as the value of a label: short, in one line, and valid UTF-8."""
    return "".join(one if one.isprintable() else "?" for one in str(text)[:_LONGEST_LABEL])


def _number(value):
    """Whole numbers stay whole, however large they are."""
    return str(value) if isinstance(value, int) else repr(float(value))


def sample(name, labels, values, value, more=()):
    """One line of the text."""
    pairs = ",".join(f'{one}="{text.translate(_ESCAPES)}"' for one, text in (*zip(labels, values), *more))
    return f"{name}{{{pairs}}} {_number(value)}" if pairs else f"{name} {_number(value)}"


class Family:
    """What all kinds have: a name, a sentence, and the names of labels in the order in which their values come."""

    kind = "untyped"

    def __init__(self, name, about, labels=()):
        self.name = name
        self.about = about
        self.labels = tuple(labels)
        self._values = {}

    def head(self):
        return [f"# HELP {self.name} {self.about}", f"# TYPE {self.name} {self.kind}"]

    def _checked(self, kept):
        """What was kept, by the values of labels. Raises ValueError where it is not what this family has written."""
        found = {tuple(values): amounts for values, *amounts in kept}
        for values in found:
            if len(values) != len(self.labels) or not all(isinstance(one, str) for one in values):
                raise ValueError(f"{self.name} has other labels")
        return found


class Counter(Family):
    """A number that only grows."""

    kind = "counter"

    def __init__(self, name, about, labels=()):
        super().__init__(name, about, labels)
        if not self.labels:
            # Without labels it is there from the beginning, so that its first step is seen as one.
            self._values[()] = 0

    def add(self, values=(), amount=1):
        self._values[values] = self._values.get(values, 0) + amount

    def lines(self):
        return [sample(self.name, self.labels, values, amount) for values, amount in sorted(self._values.items())]

    def kept(self):
        return [[list(values), amount] for values, amount in self._values.items()]

    def restore(self, kept):
        found = {values: amount for values, (amount,) in self._checked(kept).items()}
        if not all(is_count(amount) for amount in found.values()):
            raise ValueError(f"{self.name} is no count")
        self._values.update(found)


class Histogram(Family):
    """How many amounts are at most as large as each bound, and their sum. bounds are in the unit of the name."""

    kind = "histogram"

    def __init__(self, name, about, labels, bounds):
        super().__init__(name, about, labels)
        self._bounds = tuple(bounds)

    def add(self, values, amount):
        found = self._values.get(values)
        if found is None:
            found = self._values[values] = [[0] * (len(self._bounds) + 1), 0.0]
        found[0][bisect.bisect_left(self._bounds, amount)] += 1
        found[1] += amount

    def lines(self):
        told = []
        for values, (buckets, total) in sorted(self._values.items()):
            below = 0
            for bound, number in zip((*self._bounds, "+Inf"), buckets):
                below += number
                told.append(sample(f"{self.name}_bucket", self.labels, values, below, [("le", str(bound))]))
            told.append(sample(f"{self.name}_sum", self.labels, values, round(total, 6)))
            told.append(sample(f"{self.name}_count", self.labels, values, below))
        return told

    def kept(self):
        return [[list(values), buckets, total] for values, (buckets, total) in self._values.items()]

    def restore(self, kept):
        size = len(self._bounds) + 1
        found = {values: [list(buckets), total] for values, (buckets, total) in self._checked(kept).items()}
        for buckets, total in found.values():
            if len(buckets) != size or not all(is_count(one) for one in buckets) or not is_amount(total):
                raise ValueError(f"{self.name} has other buckets")
        self._values.update(found)


class Gauges(Family):
    """Numbers that are measured anew each time, by who measures them."""

    kind = "gauge"

    def lines_of(self, values):
        """values: [(values of labels, number)]."""
        return [sample(self.name, self.labels, one, number) for one, number in sorted(values)]


class Reading(Gauges):
    """What another program has counted, which begins anew with that."""

    kind = "counter"


def is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_amount(value):
    """Whether it is a number that a sum can take."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
