import re
from pathlib import Path

import pytest
import typer
import yaml

from lab.reference.pages import FOLDER as REFERENCE
from optimizer.cli.main import app
from optimizer.deployment.monitor import KINDS
from optimizer.deployment.run_incidents import APPROVAL_WAITING, RUN_FAILED

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


def test_the_list_of_commands_says_of_each_what_its_docstring_says():
    commands = typer.main.get_command(app).commands.values()
    assert [(it.name, it.help) for it in commands] == [(it.name, " ".join(it.loaded.help.split())) for it in commands]


def test_every_command_but_migrate_and_the_demos_prints_json():
    commands = typer.main.get_command(app).commands
    without = {name for name, it in commands.items() if all("--json" not in option.opts for option in it.loaded.params)}
    assert without == {"demo", "down", "env", "migrate", "up"}


@pytest.mark.parametrize("kind", [*KINDS, APPROVAL_WAITING, RUN_FAILED])
def test_the_operations_page_says_what_to_do_about_every_kind_of_alert(kind):
    assert f"`{kind}`" in (DOCS / "operations.md").read_text()


def test_the_operations_page_has_a_section_with_a_message_for_every_alert_of_the_monitor():
    _, _, alerts = (DOCS / "operations.md").read_text().partition("\n## Alerts\n")
    sections = re.split(r"^### ", alerts.partition("\n## ")[0], flags=re.MULTILINE)[1:]
    named = [kind for section in sections for kind in re.findall(r"^`(\w+)`|and `(\w+)`:$", section, re.MULTILINE)]
    assert sorted(filter(None, (name for pair in named for name in pair))) == sorted(KINDS)
    assert [section[:30] for section in sections if "```\nentity drugs_hcp: " not in section] == []


def test_pages_are_not_loaded_from_other_hosts():
    assert yaml.safe_load((PROJECT / "mkdocs.yml").read_text())["theme"]["font"] is False
    pages = [page.read_text() for page in DOCS.rglob("*.md") if page.parent != REFERENCE]
    assert [page[:40] for page in pages if "```mermaid" in page] == [], (
        "the theme loads mermaid from a CDN; draw an SVG"
    )
