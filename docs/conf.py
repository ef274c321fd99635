"""Configuration of the documentation site: `make docs` builds it into build/docs."""

import os
import re
import sys
import tomllib
from pathlib import Path

from docutils import nodes
from docutils.core import publish_doctree
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from config import describe_settings  # noqa: E402  (the path is set above)

project = "MAX Image Resolution Enhancer"
copyright = "its contributors, Apache-2.0"
release = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["Thumbs.db", ".DS_Store"]
html_theme = "furo"
html_title = f"{project} {release}"
html_copy_source = False

myst_enable_extensions = ["colon_fence"]
nb_execution_mode = "off"  # a test executes the notebooks
myst_heading_anchors = 3  # headings down to ### can be linked to

autodoc_member_order = "bysource"
autodoc_mock_imports = ["tensorflow"]  # takes seconds to load, and no page needs it
autodoc_typehints = "signature"
python_maximum_signature_line_length = 88
napoleon_use_ivar = True

INCLUDED_PAGES = {
    "training/README.md": "training.md",
    "benchmarks/README.md": "benchmarks.md",
    "assets/README.md": "weights.md",
    "samples/README.md": "samples.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""Documents outside this folder, by the page that includes them."""

LOCAL_LINK = re.compile(r"\]\((?![a-z]+:|#)([^)#\s]+)")
CODE = re.compile(r"(?<![`:\w])`([^`\n]+)`(?![`_])")
PROBLEM_LEVEL, QUIET = 2, 5  # levels of docutils: warning, and above every message

TREE = "├──"  # in a docstring, draws a hierarchy that must keep its lines

log = logging.getLogger(__name__)


class SettingsTable(SphinxDirective):
    """A table of the settings named in the content, one name a line.

    A setting that does not exist is an error. `check_settings` finds those that no table shows.
    """

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the table, and remember which settings it shows."""
        known = {setting[0]: setting for setting in describe_settings()}
        names = [line.strip() for line in self.content if line.strip()]
        unknown = sorted(set(names) - known.keys())
        if unknown:
            raise self.error(f"Settings must be among {', '.join(known)}. Received: {unknown}")
        shown = self.env.metadata[self.env.docname]
        shown["settings"] = f"{shown.get('settings', '')} {' '.join(names)}"
        rows = ["| Variable | Type | Default | Purpose |", "|---|---|---|---|"]
        rows += [settings_row(*known[name][:4]) for name in names]
        return self.parse_text_to_nodes("\n".join(rows))


def settings_row(name: str, kind: str, default: str, purpose: str) -> str:
    """Return one row of the table in Markdown."""
    shown = f"`{default}`" if default else "empty"
    return f"| `{name}` | {kind} | {shown} | {purpose.replace('|', chr(92) + '|')} |"


def check_settings(app: Sphinx, _env: object) -> None:
    """Warn of settings that no table shows."""
    pages = app.env.metadata.values()
    shown = {name for page in pages for name in page.get("settings", "").split()}
    for name in sorted({setting[0] for setting in describe_settings()} - shown):
        log.warning("No table of settings shows %s.", name)


def move_links(_app: Sphinx, path: Path, _parent: str, content: list[str]) -> None:
    """Make the local links of an included document relative to this folder."""
    folder = (ROOT / "docs" / path).resolve().parent

    def moved(link: re.Match[str]) -> str:
        target = os.path.relpath(folder / link[1], ROOT)
        page = INCLUDED_PAGES.get(target)
        return f"]({page or os.path.relpath(ROOT / target, ROOT / 'docs')}"

    content[0] = LOCAL_LINK.sub(moved, content[0])


def adapt_docstring(
    app: Sphinx, _what: str, _name: str, _obj: object, _options: object, lines: list[str]
) -> None:
    """Mark `code` as reStructuredText does; keep trees and all that is invalid as written."""
    written = list(lines)
    lines[:] = [CODE.sub(r"``\1``", line) for line in lines]
    settings = {"report_level": QUIET, "env": app.env}
    tree = publish_doctree("\n".join(lines), settings_overrides=settings)
    problems = tree.findall(nodes.system_message)
    is_invalid = any(problem["level"] >= PROBLEM_LEVEL for problem in problems)
    if is_invalid or any(TREE in line for line in lines):
        lines[:] = ["::", "", *(f"    {line}" for line in written), ""]


def setup(app: Sphinx) -> None:
    """Register the table of settings and the hooks."""
    app.add_directive("settings", SettingsTable)
    app.connect("env-updated", check_settings)
    app.connect("include-read", move_links)
    app.connect("autodoc-process-docstring", adapt_docstring, priority=900)
