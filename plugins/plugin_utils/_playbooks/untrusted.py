# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts and registries have said is no template, wherever it goes from a filter."""

from __future__ import annotations

import ansible.template

# Before ansible-core 2.19, a text that a filter has made is evaluated later where it looks like a template.
_EVALUATES = not hasattr(ansible.template, "is_trusted_as_template")


def untrusted(value):
    """The value, in which no text is evaluated."""
    if not _EVALUATES:
        return value
    from ansible.utils.unsafe_proxy import wrap_var  # noqa: PLC0415

    return wrap_var(value)
