"""A release has one version, and the documents of a release say what is true of it."""

import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from project.compose import SERVICES
from project.distribution import EXTRAS, PROJECT, PYPROJECT

from optimization_tracking.schema import head_revision as tracking_revision
from optimizer.control_plane.schema import head_revision as control_plane_revision
from optimizer.core.config.settings import CONFIG_VERSION

LAB = tomllib.loads((PROJECT / "lab" / "pyproject.toml").read_text())
VERSION = PYPROJECT["project"]["version"]
GUIDE = (PROJECT / "CONTRIBUTING.md").read_text()


def test_both_distributions_and_the_image_have_the_version():
    assert LAB["project"]["version"] == VERSION
    assert {service["image"] for service in SERVICES.values() if "build" in service} == {f"rtb-optimizer:{VERSION}"}


def test_the_newest_section_of_the_changelog_is_of_the_version_and_names_its_revisions():
    newest = (PROJECT / "CHANGELOG.md").read_text().split("\n## ")[1]
    assert re.match(rf"\[{re.escape(VERSION)}\] - (Unreleased|\d{{4}}-\d\d-\d\d)\n", newest)
    revisions = f"control plane {control_plane_revision()}, tracking {tracking_revision()}"
    assert f"Schema revisions: {revisions}. Config version: {CONFIG_VERSION}.\n" in newest


def test_the_notice_names_every_direct_dependency():
    groups = [LAB["project"]["dependencies"], PYPROJECT["dependency-groups"]["dev"], *EXTRAS.values()]
    wanted = {Requirement(line).name for group in groups for line in group} - {PYPROJECT["project"]["name"]}
    named = set(re.findall(r"^  (\S+) {2,}\S", (PROJECT / "NOTICE").read_text(), re.MULTILINE))
    assert named == wanted


@pytest.mark.parametrize("page", ["CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_links_lead_to_files_that_exist(page):
    for target in re.findall(r"\]\((?!https:)([^)#]+)[^)]*\)", (PROJECT / page).read_text()):
        assert (PROJECT / target).exists(), target


def test_the_guide_names_files_and_functions_that_exist():
    paths = re.findall(r"`((?:docker|docs|include|lab|plugins|tests)/[\w./-]*)`", GUIDE)
    assert len(paths) > 20
    assert [path for path in paths if not (PROJECT / path).exists()] == []
    code = "".join(file.read_text() for file in (PROJECT / "plugins").rglob("*.py"))
    names = set(re.findall(r"`(\w+)\(\)`", GUIDE))
    assert len(names) > 10
    assert [name for name in names if f"def {name}(" not in code] == []


def test_the_hooks_run_the_programs_of_the_checkout():
    hooks = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [(repo["repo"], [hook["id"] for hook in repo["hooks"]]) for repo in hooks] == [
        ("local", ["ruff-check", "ruff-format"])
    ]
