# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The storage of a registry in a bucket, as versions 2 and 3 write it with the driver `s3`: read and changed.

It has what `wharf_storage` has of a disk. All times are those of S3. What S3 does not answer, or not as it should, is
an S3Error and ends a run: of a list that is not whole, all that is missing would be garbage.
"""
