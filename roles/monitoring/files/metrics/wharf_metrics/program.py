# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All of it together: the log, what it counts, the sources, the state, and those who ask."""

from __future__ import annotations

import threading
import time

from ansible_collections.wharf.registry.plugins.module_utils._common.log_tail import Tail

from . import sources, storage
from .catalogue import GAUGES
from .families import Counter, is_amount
from .forecast import Forecast
from .refresh import Source
from .server import Server
from .state import State, replace
from .traffic import Traffic

# Seconds.
_LOOK = 0.25
_KEEP = 5
_TEXTFILE = 15
_FRESH = 1.0
GAPS = (
    "wharf_log_gaps_total",
    "How often lines of the request log were lost: it was rotated twice while this program did not run, or was cut.",
)


class Program:
    """settings: as the role writes them."""

    def __init__(self, settings):
        self._settings = settings
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._rendered = (0.0, b"")
        self._rendering = threading.Lock()
        self._started = round(time.time(), 3)
        self._last_line = 0
        self._unread = 0
        self._readable = False
        self._forecast = Forecast()
        self._state = State(settings["state"])
        self._gaps = Counter(*GAPS)
        self._traffic = Traffic(settings["repositories"], settings["users"])
        self._sources = list(self._all_sources())
        positions = self._restore()
        self._tail = Tail(settings["log"], positions)
        self._gaps.add((), self._tail.gaps)
        self._seen_gaps = self._tail.gaps
        # Where counting has begun, for one that is killed before it writes more.
        self._try(self._keep)
        self._server = None

    def _all_sources(self):
        given = self._settings
        for name, seconds, read, key in (
            ("backup", 30, sources.backup, "backup"),
            ("mirror", 30, sources.mirror, "mirror"),
            ("cache", 15, sources.cache, "cache"),
            ("rollout", 60, sources.rollout, "rollout"),
            ("exposure", 60, sources.exposure, "exposure"),
            ("certificates", 300, sources.certificates, "certificates"),
            ("replicas", 15, sources.replicas, "replicas"),
            ("jobs", 60, sources.jobs, "jobs"),
        ):
            if given.get(key):
                yield Source(name, seconds, lambda read=read, key=key: read(given[key]))
        if given.get("collection"):
            yield Source("collection", 30, lambda: sources.collection(given["collection"]), keeps=True)
        if given.get("storage"):
            yield Source("storage", 300, lambda: storage.samples(given["storage"], given["repositories"]))
            yield Source("disk", 15, lambda: storage.disk(given["storage"], self._forecast, time.time()))

    # ---- state -------------------------------------------------------------------------------------------------------

    def _restore(self):
        """The positions in the log that were kept, or None."""
        positions = []

        def take(found):
            traffic, forecast = Traffic(self._settings["repositories"], self._settings["users"]), Forecast()
            traffic.restore(found["traffic"])
            forecast.restore(found["forecast"])
            kept = {name: _samples(known) for name, known in found["sources"].items()}
            known = [{name: kind(one[name]) for name, kind in _POSITION.items()} for one in found["positions"]]
            # All of it can be used, or nothing of it is.
            self._gaps.restore(found["gaps"])
            self._traffic, self._forecast = traffic, forecast
            positions.extend(known)
            for source in self._sources:
                if source.keeps and source.name in kept:
                    source.samples = kept[source.name]

        return positions if self._state.read(take) else None

    def _keep(self):
        """Write what was counted, and how far."""
        self._state.write(
            {
                "traffic": self._traffic.kept(),
                "gaps": self._gaps.kept(),
                "positions": self._tail.positions(),
                "forecast": self._forecast.samples,
                "sources": {
                    one.name: [[name, list(values), number] for name, values, number in one.samples]
                    for one in self._sources
                    if one.keeps
                },
            }
        )

    # ---- counting ----------------------------------------------------------------------------------------------------

    def _count(self):
        """Count what is there now. What comes meanwhile may come as fast as it is counted: it is for the next time."""
        rotations = self._tail.rotations
        for lines in self._tail.chunks():
            with self._lock:
                for line in lines:
                    self._traffic.add(b"" if line is None else line)
                self._gaps.add((), self._tail.gaps - self._seen_gaps)
                self._seen_gaps = self._tail.gaps
            self._last_line = round(time.time(), 3)
            if self._stopped.is_set():
                break
        if self._tail.rotations != rotations:
            # A state from before the next rotation would name no file that is still there.
            self._try(self._keep)
        self._unread = self._tail.unread
        self._readable = self._tail.readable

    def run(self, ready):
        """Count until it is told to stop. ready() is called once metrics are served."""
        # All that was written meanwhile, before anyone asks: a counter must never be lower than it was.
        self._count()
        # One more rotation must not take what this start has just read.
        self._try(self._keep)
        for source in self._sources:
            source.start()
        self._server = Server(self._settings["socket"], self.text)
        self._server.start()
        ready()
        kept = time.monotonic()
        told = kept - _TEXTFILE
        while not self._stopped.wait(_LOOK):
            self._count()
            now = time.monotonic()
            if now - kept >= _KEEP:
                self._try(self._keep)
                kept = now
            if self._settings.get("textfile") and now - told >= _TEXTFILE:
                self._try(self._write_textfile)
                told = now
        self._server.stop()
        self._count()
        self._try(self._keep)
        self._tail.close()

    def stop(self):
        self._stopped.set()

    @staticmethod
    def _try(write):
        try:
            write()
        except OSError as error:
            # A full disk: counting goes on, and so does serving.
            print(f"wharf-registry: {error.filename} can't be written: {error.strerror}", flush=True)

    def _write_textfile(self):
        replace(self._settings["textfile"], self.text(), 0o644, durable=False)

    # ---- telling -----------------------------------------------------------------------------------------------------

    def text(self):
        """The metrics. Made anew once a second at most: many who ask cost as little as one."""
        with self._rendering:
            made, content = self._rendered
            if time.monotonic() - made >= _FRESH or not content:
                content = self._render()
                self._rendered = (time.monotonic(), content)
        return content

    def _render(self):
        lines = []
        with self._lock:
            for family in (*self._traffic.families, self._gaps):
                lines += [*family.head(), *family.lines()]
        gauges = {}
        for name, values, number in self._samples():
            gauges.setdefault(name, []).append((values, number))
        for name, family in GAUGES.items():
            if name in gauges:
                lines += [*family.head(), *family.lines_of(gauges[name])]
        return ("\n".join(lines) + "\n").encode("utf-8", "replace")

    def _samples(self):
        now = time.time()
        yield "wharf_start_time_seconds", (), self._started
        yield "wharf_log_readable", (), int(self._readable)
        yield "wharf_log_unread_bytes", (), self._unread
        if self._last_line:
            yield "wharf_log_last_line_timestamp_seconds", (), self._last_line
        for source in self._sources:
            yield from source.told(now)


_POSITION = {"inode": int, "offset": int, "length": int, "head": str}


def _samples(kept):
    """Samples of a state. Raises ValueError."""
    samples = [(str(name), tuple(map(str, values)), number) for name, values, number in kept]
    if not all(name in GAUGES and is_amount(number) for name, _values, number in samples):
        raise ValueError("samples of a source are damaged")
    return samples
