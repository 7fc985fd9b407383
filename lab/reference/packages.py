"""The page and the picture of the packages of `optimizer`, from the imports in their sources."""

import ast
from collections.abc import Mapping
from functools import cache
from html import escape
from pathlib import Path

from lab.reference.markdown import code, table
from optimizer import core

PACKAGE = Path(core.__file__).parents[1]

_INTRODUCTION = """\
# Packages

What each package of `optimizer` is and what it imports, read from the sources. `tests/project/test_imports.py` has the
rules, and [Architecture](../architecture.md) the reasons. Every package may also import the modules `errors`, `names`
and `sql_files`. Blue packages start programs; green ones connect to other systems.

![Each package imports only packages in the rows below it](packages.svg)
"""

_BOX_WIDTH, _BOX_HEIGHT, _GAP, _LABEL_WIDTH = 132, 34, 14, 120
_FILLS = {"entry": "#dbe7fb", "adapter": "#e4f3e5", "plain": "#f1f3f6"}
_ENTRY_POINTS = {"orchestration", "cli", "bidder"}
_ADAPTERS = {"artifacts", "clients", "control_plane", "warehouse"}


def packages_page() -> str:
    """Return the page."""
    imports = read_imports()
    rows = [
        [
            code(name),
            _summary(name),
            ", ".join(map(code, sorted(imports[name]))),
            ", ".join(code(other) for other in sorted(imports) if name in imports[other]),
        ]
        for layer in reversed(layers(imports))
        for name in layer
    ]
    return f"{_INTRODUCTION}\n{table(['Package', 'What it is', 'Imports', 'Imported by'], rows)}"


def packages_picture() -> str:
    """Return the packages as SVG, one row per layer: a package imports only from the rows below its own."""
    rows = list(reversed(layers(read_imports())))
    width = _LABEL_WIDTH + max(map(len, rows)) * (_BOX_WIDTH + _GAP) + _GAP
    height = len(rows) * (_BOX_HEIGHT + _GAP) + _GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' font-family="system-ui, sans-serif" font-size="14" text-anchor="middle">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<g transform="translate(34 {_GAP})" stroke="#8a94a3" fill="none">',
        f'<path d="M0 0 V{height - 2 * _GAP} m-5 -8 l5 8 l5 -8"/></g>',
        f'<text x="74" y="{height / 2}" fill="#5b6472">imports</text>',
    ]
    for number, row in enumerate(rows):
        top = _GAP + number * (_BOX_HEIGHT + _GAP)
        for place, name in enumerate(row):
            left = _LABEL_WIDTH + place * (_BOX_WIDTH + _GAP)
            parts.append(
                f'<rect x="{left}" y="{top}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" rx="6"'
                f' fill="{_FILLS[_kind(name)]}" stroke="#c3cad4"/>'
                f'<text x="{left + _BOX_WIDTH / 2}" y="{top + 22}" fill="#1d2733">{escape(name)}</text>'
            )
    return "\n".join([*parts, "</svg>\n"])


def read_imports() -> dict[str, set[str]]:
    """Return for each package of optimizer the other packages that its modules import."""
    names = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    return {
        name: set().union(*map(parts_imported, (PACKAGE / name).rglob("*.py"))) & names - {name}
        for name in sorted(names)
    }


def layers(imports: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the packages in layers, the lowest first: each imports from lower layers only."""
    level: dict[str, int] = {}
    while len(level) < len(imports):
        ready = [name for name in imports if name not in level and imports[name] <= level.keys()]
        if not ready:
            raise ValueError(f"these packages import each other: {sorted(imports.keys() - level.keys())}")
        level |= {name: 1 + max((level[it] for it in imports[name]), default=-1) for name in ready}
    return [sorted(it for it in level if level[it] == number) for number in range(1 + max(level.values(), default=-1))]


@cache
def imports_of(file: Path) -> frozenset[str]:
    """Return every module that a file imports, and every name that it imports from one, lazy imports included.

    Raises:
        ValueError: it imports relatively; Airflow may load a module under another name.
    """
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{file}: relative import; write the absolute one, Airflow may rename a module")
            names |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


def parts_imported(file: Path) -> set[str]:
    """Return the packages and modules of optimizer that a file imports, without the leading `optimizer.`."""
    return {name.split(".")[1] for name in imports_of(file) if name.startswith("optimizer.")}


def _summary(name: str) -> str:
    text = ast.get_docstring(ast.parse((PACKAGE / name / "__init__.py").read_text(encoding="utf-8"))) or ""
    return text.partition("\n\n")[0]


def _kind(name: str) -> str:
    return "entry" if name in _ENTRY_POINTS else "adapter" if name in _ADAPTERS else "plain"
