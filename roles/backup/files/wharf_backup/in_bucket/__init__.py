# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that are objects of a bucket: their links are in the snapshots of restic, their blobs in a second bucket.

A snapshot holds the links as they were, encrypted. A blob is written once and named by its digest, so that the second
bucket has each of them once, for as long as any snapshot needs it. A snapshot is made when all blobs that it needs are
there and proven: what is interrupted before that leaves more blobs, and no snapshot that is not whole.
"""
