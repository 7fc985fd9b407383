import re
from pathlib import Path

import pytest
import typer
import yaml

from lab.reference.pages import FOLDER as REFERENCE
from optimizer.cli.main import app

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"


def test_every_page_is_in_the_sites_navigation():
    navigation = yaml.safe_load((PROJECT / "mkdocs.yml").read_text())["nav"]
    assert sorted(pages_of(navigation)) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def pages_of(entry):
    if isinstance(entry, str):
        return [entry]
    return [page for child in (entry.values() if isinstance(entry, dict) else entry) for page in pages_of(child)]


@pytest.mark.parametrize("top", ["dags", "docs", "include", "lab", "plugins", "tests"])
def test_paths_on_the_architecture_page_exist(top):
    text = (DOCS / "architecture.md").read_text()
    paths = re.findall(rf"`({top}/[\w./]+)`", text)
    assert [path for path in paths if not (PROJECT / path).exists()] == []


def test_parts_of_packages_on_the_architecture_page_exist():
    text = (DOCS / "architecture.md").read_text()
    packages = [path.parent.name for path in (PROJECT / "plugins/optimizer").glob("*/__init__.py")]
    paths = re.findall(rf"`((?:{'|'.join(packages)})/[\w./]+)`", text)
    assert paths
    assert [path for path in paths if not (PROJECT / "plugins/optimizer" / path).exists()] == []


def test_the_glossary_explains_each_term_once():
    terms = re.findall(r"^\| \*\*(.+?)\*\*", (DOCS / "glossary.md").read_text(), re.MULTILINE)
    assert len(terms) > 40
    assert len({term.casefold() for term in terms}) == len(terms)


def test_every_command_but_migrate_and_the_demos_prints_json():
    commands = typer.main.get_command(app).commands
    without = {name for name, it in commands.items() if all("--json" not in option.opts for option in it.params)}
    assert without == {"demo", "down", "env", "migrate", "up"}


def test_pages_are_not_loaded_from_other_hosts():
    assert yaml.safe_load((PROJECT / "mkdocs.yml").read_text())["theme"]["font"] is False
    pages = [page.read_text() for page in DOCS.rglob("*.md") if page.parent != REFERENCE]
    assert [page[:40] for page in pages if "```mermaid" in page] == [], (
        "the theme loads mermaid from a CDN; draw an SVG"
    )
