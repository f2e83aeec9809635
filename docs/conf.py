"""Configuration of Sphinx. Build with ``python -m sphinx -W docs docs/_build``."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

_HERE = Path(__file__).parent
sys.path[:0] = [str(_HERE / "_ext"), str(_HERE.parent)]

# autodoc reads the docs of attributes in the source of the module that defines a class. So this
# process keeps the real modules; `public_names` shows and links the public ones.
_paths = ModuleType("agy_actors._public_paths")
_paths.show_public_paths = lambda _package: None  # type: ignore[attr-defined]
sys.modules["agy_actors._public_paths"] = _paths

from inventories import reachable_inventories  # noqa: E402

import agy_actors  # noqa: E402 (after the lines above)

project = "agy_actors"
author = "the authors of agy_actors"
copyright = "2026, the authors of agy_actors"  # noqa: A001 (Sphinx's name)
version = release = agy_actors.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "public_names",
    "command_line",
    "metrics",
]

exclude_patterns = ["_build", "benchmarks", "package.rst"]
default_role = "py:obj"  # Docstrings mark names with single backticks.
smartquotes = False  # They would change the options of commands.
html_theme = "furo"
html_title = f"agy_actors {release}"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_copy_source = False
html_show_sphinx = False
pygments_style = "friendly"
pygments_dark_style = "monokai"

toc_object_entries_show_parents = "hide"
python_maximum_signature_line_length = 88
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = [("Warns", "Raises")]

copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True

linkcheck_ignore = [r"https?://"]  # Only local links: the build needs no network.

intersphinx_mapping = reachable_inventories(
    {
        "python": "https://docs.python.org/3",
        "pykka": "https://pykka.readthedocs.io/stable",
        "tenacity": "https://tenacity.readthedocs.io/en/stable",
    }
)
