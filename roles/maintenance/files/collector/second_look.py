# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was garbage at the first look, and still is while the registry is held.

Where images are files, all of them are looked at again. In a bucket that takes a list for each thousand keys. So those
repositories alone are looked at that were written to since they were listed last. Nothing that is needed is removed,
since:

1. All that makes garbage needed again is a write to a repository, which makes a link there (a push of a blob or of a
   manifest, a mount), or a HEAD, after which a client relies on what it has heard of. A blob is needed by links alone.
   So a repository that was not written to needs what it needed before, and of all others what they need is known anew.
   HEADs are asked of the hosts by digest, as ever, and what is young is kept, as ever.
2. The proxy of each host puts the name of a repository into its record before it lets a write through, and once more
   when the registry has answered. The record begins before the first list, and each host has been seen without a write
   in between. So a write that a list may lack was begun after the beginning of the record, and is in it; what was let
   through a moment before, and was not counted yet, is there by its end.
3. The same holds for each later list: the record is read first, then each host is seen without a write, and then those
   repositories are listed. Only by that is a repository forgotten that was written to. Where the proxy has given up
   before the registry answered, it is never forgotten.
4. While the registry is held, and nothing writes, the record is read once more, and what it names is listed. What came
   through all the same keeps everything, as ever: the number of writes that have ended is compared before the removal.
5. A record that is not whole is of no use: that of a host which was started again meanwhile, or whose proxy has a
   configuration of a former version. Then, and where no moment without writes was found before the first list, all is
   listed while the registry is held, and the report says so. A host that does not answer is a HoldError.
"""

from __future__ import annotations

import time

from garbage import Survey, find
from holds import RecordError

# A request that the proxy lets through is counted there a moment later.
SETTLE_SECONDS = 0.2


class SecondLook:
    """Of one collection. The registry is held where look() is called, and not where the others are."""

    def __init__(self, contents, holds, settings, *, at_some):
        self._contents, self._holds, self._settings = contents, holds, settings
        self._at_some = at_some
        # Why all has to be looked at, and the garbage of the look before.
        self._why = ""
        self._earlier = None
        self._survey = None
        # What was written to since it was listed, by clients and by this collection, and what may still be written to.
        self._written_to, self._ours, self._unsure = set(), set(), set()
        self._weighed = False

    def first(self, keep):
        """The Garbage of the first look."""
        self._holds.begin_record()
        if not self._at_some:
            self._earlier = find(self._contents, keep)
            return self._earlier
        if not self._seen_quiet():
            self._why = "no moment without writes was found before the first look"
        self._survey = Survey(self._contents, keep)
        return self._survey.garbage

    def come_near(self, keep):
        """Waits for a moment without writes, and looks at what was written to, so that less is left for look()."""
        self._read_record()
        time.sleep(SETTLE_SECONDS if self._survey is not None else 0)
        # What writes waits from then on only for what comes in between.
        quiet = self._holds.wait_for_quiet(self._settings.pause_seconds, strict=True)
        if self._survey is None or self._why:
            return
        listed = self._ours | (self._written_to if quiet else set())
        # The first look has not asked how old anything is.
        weighed = set() if self._weighed else self._survey.garbage.repositories()
        self._look_again(keep(), listed, weighed)
        self._ours, self._weighed = set(), True
        self._written_to -= listed if quiet else set()

    def look(self, keep):
        """The Garbage that is left, which has to be removed at once."""
        self._read_record()
        if self._survey is None:
            return find(self._contents, keep()).both(self._earlier)
        if not self._why:
            return self._look_again(keep(), self._written_to | self._ours | self._unsure)
        garbage = find(self._contents, keep()).both(self._survey.garbage)
        garbage.warnings.append(
            f"all repositories were listed while writes were held, since {self._why}. Run site.yml, which brings all "
            "hosts to one version, and collect at a quieter time"
        )
        return garbage

    def forget(self, part):
        """Takes note of what was removed, by which these repositories have changed."""
        if self._survey is not None:
            self._survey.forget(part)
            self._ours |= part.repositories()

    def _look_again(self, keep, listed, weighed=frozenset()):
        self._contents.storage.look_again_at(listed)
        return self._survey.again(keep, listed | weighed)

    def _read_record(self):
        if self._survey is None or self._why:
            return
        try:
            named, unsure = self._holds.written_to()
        except RecordError as error:
            self._why = str(error)
        else:
            self._written_to |= named
            self._unsure |= unsure

    def _seen_quiet(self):
        """Whether each host has been seen without a write, if need be while what writes is held back for a moment."""
        time.sleep(SETTLE_SECONDS)
        if self._holds.wait_for_quiet(self._settings.pause_seconds):
            return True
        with self._holds.held():
            time.sleep(SETTLE_SECONDS)
            return self._holds.wait_for_quiet(self._settings.drain_seconds)
