"""What an extra's code imports, read from the sources, and what pyproject.toml gives the extra."""

import ast
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = Path(__file__).parents[2]
PRODUCT = PROJECT / "plugins"
OWN = ("optimizer", "optimization_tracking")
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())
EXTRAS = PYPROJECT["project"]["optional-dependencies"]

PARTS = {
    "airflow": ("optimizer", "optimization_tracking"),
    "bidder": ("optimizer/bidder",),
    "cli": ("optimizer/cli", "optimizer/control_plane/migrations"),
    "client": ("optimization_tracking/client",),
    "dask": ("optimizer/training/cluster.py",),
    "tracking": ("optimization_tracking",),
}
"""Extra: the folders and modules that it is for."""

ELSEWHERE = {"airflow": ("optimizer/bidder", "optimizer/training/cluster.py")}
"""Extra: folders and modules in its own that another extra is for."""

OPTIONAL = {PRODUCT / "optimizer" / "training" / "cluster.py"}
"""Modules that others import only where a setting asks for them, and their extra is installed."""


def modules_of(extra: str) -> list[Path]:
    """The modules that the extra is for."""
    others = [PRODUCT / folder for folder in ELSEWHERE.get(extra, ())]
    parts = [PRODUCT / part for part in PARTS[extra]]
    files = [file for part in parts for file in ([part] if part.is_file() else sorted(part.rglob("*.py")))]
    assert files, f"{extra} has no modules"
    return [file for file in files if not any(file.is_relative_to(other) for other in others)]


def module_name(file: Path) -> str:
    parts = file.relative_to(PRODUCT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def libraries_of(extra: str) -> set[str]:
    """The libraries that the extra's modules import, at any depth, imports inside functions included."""
    waiting, seen, found = modules_of(extra), set(), set()
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        waiting += [folder / "__init__.py" for folder in file.parents if (folder / "__init__.py").exists()]
        for name in _imports(file):
            if name.partition(".")[0] in OWN:
                waiting += set(_files(name)) - OPTIONAL
            else:
                found.add(name.partition(".")[0])
    return found - sys.stdlib_module_names


def requirements_of(extra: str, *, is_deep: bool = True) -> set[str]:
    """The names of the extra's requirements; those of the extras that it includes are left out unless deep."""
    names: set[str] = set()
    for line in EXTRAS[extra]:
        requirement = Requirement(line)
        if requirement.name != PYPROJECT["project"]["name"]:
            names.add(requirement.name)
        elif is_deep:
            names = names.union(*(requirements_of(other) for other in requirement.extras))
    return names


def _imports(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def _files(name: str) -> list[Path]:
    path = PRODUCT.joinpath(*name.split("."))
    return [file for file in (path / "__init__.py", path.with_suffix(".py")) if file.exists()]
