# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The storage of a registry, as versions 2 and 3 write it with the driver `filesystem`: read and changed from outside.

The collector, the backup and the restore run as root, and another account owns the storage, which may be taken over.
So nothing here resolves a path twice. All begins at one open directory and goes down by names relative to open
directories, follows no symbolic link, opens nothing but directories and regular files, waits for no FIFO, and takes
names that the registry itself could have made. Needs Python 3.8 and nothing else.
"""
