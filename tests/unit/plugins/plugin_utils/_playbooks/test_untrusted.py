"""What hosts have said is no template. tests/matrix has the versions of ansible-core that would take it for one."""

from __future__ import annotations

from ansible.template import Templar
from ansible_collections.wharf.registry.plugins.plugin_utils._playbooks.untrusted import untrusted

SAID = {"lines": ["{{ 6 * 7 }}"], "failed": {"a": "{{ 6 * 7 }}"}, "rows": [{"batch": 1, "seconds": None}]}


def test_it_is_the_same_value():
    assert untrusted(SAID) == SAID


def test_it_is_not_evaluated():
    assert Templar(loader=None, variables={"said": untrusted(SAID)}).template("{{ said.failed.a }}") == "{{ 6 * 7 }}"
