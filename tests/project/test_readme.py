import re
from pathlib import Path

import pytest
import typer

from lab.stack.demo_run import BID_COLUMNS, RUN_NUMBERS
from optimizer.cli.main import app

PROJECT = Path(__file__).parents[2]
README = (PROJECT / "README.md").read_text()


def test_every_command_of_the_command_line_is_in_the_readme():
    commands = typer.main.get_command(app).commands
    shown = set(re.findall(r"^optimizer ([\w-]+)", README, re.MULTILINE))
    assert shown | {"up", "down"} == set(commands)


def test_the_readme_describes_a_run_in_ten_sentences_one_per_task():
    section = README.split("## A run in ten sentences")[1].split("\n## ")[0]
    tasks = re.findall(r"^\d+\. `(\w+)`", section, re.MULTILINE)
    assert len(tasks) == 10
    wired = (PROJECT / "plugins/optimizer/orchestration/entity_tasks.py").read_text()
    assert tasks == re.findall(r"^@task.*\ndef (\w+)\(", wired, re.MULTILINE)


def test_the_demos_output_in_the_readme_has_the_demos_own_rows_and_columns():
    shown = README.split("<!-- demo -->")[1].split("<!-- /demo -->")[0]
    for name in (*RUN_NUMBERS, *BID_COLUMNS):
        assert name in shown


@pytest.mark.parametrize(
    "page", ["README.md", *(str(page.relative_to(PROJECT)) for page in (PROJECT / "docs").rglob("*.md"))]
)
def test_links_lead_to_files_that_exist(page):
    text = (PROJECT / page).read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert ((PROJECT / page).parent / target).exists(), f"{page} links to {target}"


def test_every_package_is_in_the_layout():
    packages = {path.name for path in (PROJECT / "plugins/optimizer").iterdir() if (path / "__init__.py").exists()}
    shown = set(re.findall(r"^  (\w+)/ ", README, re.MULTILINE))
    assert shown == packages
