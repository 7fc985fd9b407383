import re
import tomllib
from pathlib import Path

import pytest
import typer
import yaml

from lab.reference.pages import FOLDER as REFERENCE
from optimization_tracking.commands.main import app as tracking_app
from optimizer.bidder.bodies import MAX_BODY_BYTES
from optimizer.bidder.metrics import METRICS, PREFIX
from optimizer.bidder.openrtb.reading import MAX_IMPRESSIONS
from optimizer.cli.main import app
from optimizer.core.live.readiness import READINESS_CODES
from optimizer.deployment.monitor import KINDS
from optimizer.deployment.run_incidents import APPROVAL_WAITING, RUN_FAILED
from optimizer.lifecycle.claims import MAX_RUNS_A_PASS
from optimizer.orchestration.monitor_dag import PARTS
from optimizer.orchestration.pending_runs_dag import STARTS_A_TASK
from optimizer.runs.limits import LONGEST_RUN

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"
VERSION = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
ALERTS = (DOCS / "alerts.md").read_text()
BIDDER_RULES = yaml.safe_load((PROJECT / "examples/prometheus/bidder.yml").read_text())["groups"][0]["rules"]


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


def test_commands_that_the_pages_name_exist_with_their_options():
    optimizer = {name: command.loaded for name, command in typer.main.get_command(app).commands.items()}
    tracking = typer.main.get_command(tracking_app).commands
    for page in [*DOCS.glob("*.md"), PROJECT / "README.md"]:
        code = in_code(page.read_text())
        for program, commands in (("optimizer", optimizer), ("python -m optimization_tracking", tracking)):
            for line in re.findall(rf"^(?:\$ )?{program} ([a-z][^`\n#]*)", code, re.MULTILINE):
                name, *arguments = line.split()
                assert set(name.split("|")) <= set(commands), f"{page.name}: {line}"
                command = commands.get(name)
                if command is not None and not hasattr(command, "commands"):
                    options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
                    given = {argument.partition("=")[0] for argument in arguments if argument.startswith("--")}
                    assert given <= options, f"{page.name}: {line}"


def in_code(text: str) -> str:
    """Return the code of a page, each block and each span on lines of their own."""
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL))
    return "\n".join([*(line.strip() for block in blocks for line in block.splitlines()), *spans])


def test_the_sizes_that_were_measured_are_those_of_the_benchmarks():
    sources = "".join((DOCS / name).read_text() for name in ("benchmarks.md", "tracking.md"))
    table = (DOCS / "sizing.md").read_text().split("\n## Measured\n")[1].split("\n## ")[0]
    measured = [line.split("|")[3] for line in table.splitlines()[3:] if line.startswith("|")]
    figures = re.findall(r"\d[\d,.]*", re.sub(r"p95|p99", "", " ".join(measured)))
    assert len(figures) > 20
    wrong = [figure for figure in figures if not re.search(rf"(?<![\d.,]){re.escape(figure)}(?![\d.,]*\d)", sources)]
    assert wrong == [], "docs/sizing.md quotes the benchmarks' results; bring it up to date with them"


def test_the_limits_on_the_page_of_sizes_are_those_of_the_code():
    limits = (DOCS / "sizing.md").read_text().split("\n## Limits in the code\n")[1].split("\n## ")[0]
    for limit in (
        f"claims in one pass | {MAX_RUNS_A_PASS:,} |",
        f"one task starts | {STARTS_A_TASK} |",
        f"from start to end | {LONGEST_RUN.total_seconds() / 3600:.0f} hours |",
        f"`monitor` | {PARTS} tasks",
        f"body of a bid request | {MAX_BODY_BYTES // 1024} KiB |",
        f"impressions of a bid request | {MAX_IMPRESSIONS:,} |",
    ):
        assert limit in limits


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


def test_the_list_of_alerts_has_every_kind_with_a_severity_and_a_runbook():
    listed = section_of("List")
    for kind in (*KINDS, APPROVAL_WAITING, RUN_FAILED):
        (line,) = [line for line in listed.splitlines() if f"[`{kind}`]" in line]
        assert line.split(" | ")[1].startswith(("page", "ticket"))


def test_the_alerts_page_has_a_section_with_a_message_for_every_kind():
    named = []
    for section in runbooks("The monitor") + runbooks("Runs"):
        kinds = re.findall(r"^`(\w+)`(?: and `(\w+)`)?:$", section, re.MULTILINE)
        assert len(kinds) == 1 and re.search(r"```\n(entity )?drugs_hcp: ", section), section[:30]
        named += filter(None, kinds[0])
    assert sorted(named) == sorted((*KINDS, APPROVAL_WAITING, RUN_FAILED))


def test_every_dag_has_a_runbook_for_when_it_is_red():
    names = {section.partition("\n")[0] for section in runbooks("Airflow")}
    assert {file.stem for file in (PROJECT / "dags").glob("*.py")} - {"entities", "entity_problems"} <= names
    assert {"An entity's DAG", "Entities without a DAG"} <= names


def test_every_state_of_an_entity_that_alerts_is_explained():
    bad = {code for word, code in READINESS_CODES.items() if code >= 6}
    assert {int(code) for code in re.findall(r"^\| (\d) \|", section_of("Gauges"), re.MULTILINE)} == bad


def test_every_rule_on_the_bidders_metrics_has_a_runbook_of_its_severity():
    written = {section.partition("\n")[0]: section.partition("**")[2].lower() for section in runbooks("Bidders")}
    severities = {rule["alert"]: rule["labels"]["severity"] for rule in BIDDER_RULES}
    assert {name: text.partition(".")[0] for name, text in written.items()} == severities


def test_every_metric_of_the_bidder_is_in_a_rule_or_said_to_need_none():
    used = set(re.findall(rf"{PREFIX}(\w+)", " ".join(rule["expr"] for rule in BIDDER_RULES)))
    exported = {
        name: name + {"counter": "_total", "histogram": "_bucket"}.get(it.kind, "") for name, it in METRICS.items()
    }
    assert used <= set(exported.values())
    needless = section_of("Bidders").partition("### ")[0]
    assert [name for name in exported.values() if name not in used and name not in needless] == []


def section_of(title: str) -> str:
    return ALERTS.split(f"\n## {title}\n")[1].split("\n## ")[0]


def runbooks(title: str) -> list[str]:
    return re.split(r"^### ", section_of(title), flags=re.MULTILINE)[1:]


@pytest.mark.parametrize("file", sorted((PROJECT / "examples/kubernetes").glob("*.yaml")), ids=lambda file: file.name)
def test_the_values_for_kubernetes_are_yaml_with_variables_that_are_documented_and_are_said_to_be_untried(file):
    text = file.read_text()
    assert list(yaml.safe_load_all(text)) and "Untried: " in text
    pages = "".join((DOCS / name).read_text() for name in ("production.md", "bidder.md"))
    for name in re.findall(r"\b(?:OPTIMIZER|AIRFLOW_CONN|OMP|OPENBLAS)_\w+", text):
        assert f"`{name}`" in pages, name
    assert re.findall(r"(?:tag: |rtb-optimizer:)(\S+)", text) == [VERSION]


def test_pages_are_not_loaded_from_other_hosts():
    assert yaml.safe_load((PROJECT / "mkdocs.yml").read_text())["theme"]["font"] is False
    pages = [page.read_text() for page in DOCS.rglob("*.md") if page.parent != REFERENCE]
    assert [page[:40] for page in pages if "```mermaid" in page] == [], (
        "the theme loads mermaid from a CDN; draw an SVG"
    )
