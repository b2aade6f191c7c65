"""Settings of Sphinx. scripts/docs-site runs it on the pages that antsibull-docs has written."""

from __future__ import annotations

import re

from docutils import nodes

project = "wharf.registry"
project_copyright = "The wharf.registry contributors"
html_title = "wharf.registry"
html_theme = "furo"
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False

extensions = ["sphinx_antsibull_ext"]
# A reference that leads nowhere is a warning, and scripts/docs-site makes that an error.
nitpicky = True
default_role = "any"
highlight_language = "yaml+jinja"

# Other sites are linked by their address, which is not fetched.
ANSIBLE = "https://docs.ansible.com/ansible/latest/"
PAGES = {
    "callback_plugins": "plugins/callback.html",
    "ansible_configuration_settings": "reference_appendices/config.html",
    "common_return_values": "reference_appendices/common_return_values.html",
}
PLUGIN = re.compile(r"ansible_collections\.(?!wharf\.)(\w+)\.(\w+)\.(\w+_[a-z]+)")

CONTENTS = re.compile(r"^\.\. contents::\n(?: +:.*\n)*", re.MULTILINE)
# The toctree of a section, which is not shown there: title, all up to it, and its options.
HIDDEN = re.compile(
    r"^(\w[\w ]*)\n([-~]+\n(?:(?!\.\. toctree|[-~]+$).*\n)*\.\. toctree::\n(?: +:maxdepth.*\n)? +:hidden:\n)",
    re.MULTILINE,
)
ENTRY = re.compile(r"^( +)(\w+)_(callback|filter|lookup|module|role|test)$", re.MULTILINE)


def _address(label):
    """Where Ansible documents what a label names, or nothing where this site should have it."""
    plugin = PLUGIN.fullmatch(label)
    if plugin:
        return f"{ANSIBLE}collections/{'/'.join(plugin.groups())}.html"
    if re.fullmatch(r"ANSIBLE_[A-Z_]+", label):
        return f"{ANSIBLE}{PAGES['ansible_configuration_settings']}#envvar-{label}"
    return f"{ANSIBLE}{PAGES[label]}" if label in PAGES else ""


def _link(_app, _env, node, content):
    address = _address(node.get("reftarget", "")) if node.get("refdomain") == "std" else ""
    return nodes.reference("", "", content, refuri=address, internal=False) if address else None


def _tidy(_app, name, source):
    """Fit what antsibull-docs wrote to the theme, which shows contents and an index beside each page."""
    text = CONTENTS.sub("", source[0])
    if name == "index":
        text = text.replace("Wharf.Registry\n", f"{project}\n", 1)
        text = HIDDEN.sub(r"\1\n\2    :caption: \1\n", text).replace(":caption: Role Index", ":caption: Roles")
        text = ENTRY.sub(r"\1\2 <\2_\3>", text)
    source[0] = text


def setup(app):
    app.connect("source-read", _tidy)
    app.connect("missing-reference", _link)
