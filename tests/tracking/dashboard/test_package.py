"""What an installed package has of the dashboard, and what others wrote in it."""

import base64
import hashlib
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from optimizer.presentation.web.pages import VENDOR

PROJECT = Path(__file__).parents[3]
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
SERVE = """
import sys
from servers.http import open_client
from servers.tracking import serving
from optimization_tracking import app
assert app.__file__.startswith(sys.argv[1]), app.__file__
away = "postgresql://nobody@127.0.0.1:9/none"
with serving(app.create_app(database_url=away, refresh_s=None)) as address, open_client(address) as http:
    page = http.get("/dashboard/")
    print(page.status_code, "API key" in page.text)
    for link in sys.argv[2:]:
        print(http.get(f"/dashboard/static/{link}").status_code, link)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The folder of an installed wheel."""
    folder = tmp_path_factory.mktemp("package")
    source, installed = folder / "source", folder / "installed"
    shutil.copytree(PROJECT / "plugins", source / "plugins", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(PROJECT / name, source)
    shutil.copytree(PROJECT / "include", source / "include")
    wheel = run(BUILD, str(folder), cwd=source).splitlines()[-1]
    shutil.unpack_archive(folder / wheel, installed, "zip")
    return installed


def test_an_installed_package_serves_the_pages_with_their_files(installed, tmp_path):
    files = [file.relative_to(VENDOR.parent) for file in VENDOR.parent.rglob("*.*") if file.is_file()]
    said = run(SERVE, str(installed), *map(str, files), cwd=tmp_path, path=f"{installed}:{PROJECT / 'tests'}")
    assert len(files) >= 6
    assert said.splitlines() == ["401 True", *(f"200 {file}" for file in files)]


def test_what_others_wrote_stands_unchanged_with_its_licence_and_is_all_there_is():
    listed = tomllib.loads((VENDOR / "vendor.toml").read_text())["file"]
    for file in listed:
        digest = base64.b64encode(hashlib.sha384((VENDOR / file["name"]).read_bytes()).digest()).decode()
        assert file["integrity"] == f"sha384-{digest}", file["name"]
        license_name = {"MIT": "MIT", "0BSD": "Zero-Clause BSD", "Apache-2.0": "Apache License"}[file["licence"]]
        assert license_name in (VENDOR / f"{file['package']}.LICENSE.txt").read_text()
        assert re.fullmatch(r"\d+\.\d+\.\d+", file["version"]) and file["package_integrity"].startswith("sha512-")
    known = {file["name"] for file in listed} | {f"{file['package']}.LICENSE.txt" for file in listed} | {"vendor.toml"}
    assert {file.name for file in VENDOR.iterdir()} == known


def run(code: str, *arguments: str, cwd: Path, path: str = "") -> str:
    """Return what a program prints whose modules are found in `path`."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env={"PYTHONPATH": path}, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
