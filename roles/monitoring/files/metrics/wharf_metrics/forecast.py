# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a disk will be full: a straight line through what was used in the last weeks."""

from __future__ import annotations

SAMPLE_SECONDS = 3600
_WEEKS_SECONDS = 28 * 86400
# With less, a single push decides.
_LEAST_SECONDS = 86400
_LEAST_SAMPLES = 12
# What comes later than that does not come.
_MOST_SECONDS = 10 * 365 * 86400


class Forecast:
    """Samples of how many bytes were used."""

    def __init__(self):
        # [[seconds since 1970, bytes]], the oldest first.
        self.samples = []

    def add(self, now, used):
        """Remember a sample where the last one is old enough."""
        if self.samples and self.samples[-1][0] > now:
            # The clock was set back.
            self.samples = [one for one in self.samples if one[0] <= now]
        if not self.samples or now - self.samples[-1][0] >= SAMPLE_SECONDS:
            self.samples.append([now, used])
            self.samples = [one for one in self.samples if one[0] >= now - _WEEKS_SECONDS]

    def seconds_until(self, used, size):
        """Seconds until `size` bytes are used, or None where that is not foreseeable."""
        samples = self.samples
        if len(samples) < _LEAST_SAMPLES or samples[-1][0] - samples[0][0] < _LEAST_SECONDS:
            return None
        middle = sum(one[0] for one in samples) / len(samples)
        mean = sum(one[1] for one in samples) / len(samples)
        spread = sum((one[0] - middle) ** 2 for one in samples)
        slope = sum((one[0] - middle) * (one[1] - mean) for one in samples) / spread
        if slope <= 0:
            return None
        seconds = max(0.0, (size - used) / slope)
        return seconds if seconds < _MOST_SECONDS else None

    def restore(self, kept):
        """Raises ValueError or TypeError where it is damaged."""
        samples = [[float(when), int(used)] for when, used in kept]
        if samples != sorted(samples):
            raise ValueError("samples are not in order")
        self.samples = samples
