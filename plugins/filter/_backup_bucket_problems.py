# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: _backup_bucket_problems
short_description: What is wrong with the bucket that a backup copies images to (private)
author: wharf.registry contributors (@wharf)
description:
  - Private to the roles of this collection. It can change without notice.
  - Returns sentences that name the variable, the problem and the cure. None shows a secret.
positional: s3, in_bucket, repository
options:
  _input:
    description: The value of C(backup_bucket).
    type: dictionary
    required: true
  s3:
    description: The value of C(registry_s3).
    type: dictionary
    required: true
  in_bucket:
    description: Whether the images of the registry are objects of S3.
    type: boolean
    required: true
  repository:
    description: The value of C(backup_repository).
    type: string
    required: true
"""

EXAMPLES = r"""
- name: Check the bucket of the copy
  ansible.builtin.assert:
    that: (backup_bucket | wharf.registry._backup_bucket_problems(registry_s3, true, backup_repository)) | length == 0
"""

RETURN = r"""
_value:
  description: A sentence on each problem.
  type: list
  elements: str
"""

from ansible_collections.wharf.registry.plugins.plugin_utils._roles.backup_bucket import bucket_problems


class FilterModule:
    def filters(self):
        return {"_backup_bucket_problems": bucket_problems}
