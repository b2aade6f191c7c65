# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts and registries have said is no template, wherever it goes from a filter."""

from __future__ import annotations

try:
    from ansible.utils.unsafe_proxy import wrap_var
except ImportError:  # Later versions evaluate no text that a filter has made.
    wrap_var = None


def untrusted(value):
    """The value. Before ansible-core 2.19, a text in it that looks like a template would be evaluated later."""
    return value if wrap_var is None else wrap_var(value)
