"""The wheel: what is in it, and that each extra installs what its part needs, in an environment of its own."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import textwrap
import zipfile
from collections.abc import Callable
from importlib.util import cache_from_source
from pathlib import Path

import matplotlib as mpl
import pytest
from project.distribution import (
    EXTRAS,
    OWN,
    PRODUCT,
    PROJECT,
    PYPROJECT,
    libraries_of,
    module_name,
    modules_of,
    requirements_of,
)
from project.installing import uv

NAME = PYPROJECT["project"]["name"]
SOURCES = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "NOTICE", "include/sql", "plugins")
"""All that the wheel is built from."""

DATA = {".toml", ".j2", ".js", ".css", ".svg", ".txt"}
"""Endings of files in the packages that are not code and belong in the wheel."""

COMES_WITH = {
    "airflow": "apache-airflow",
    "annotated_types": "pydantic",
    "attrs": "apache-airflow",
    "botocore": "boto3",
    "markupsafe": "jinja2",
    "psycopg_pool": "psycopg",
    "pydantic_core": "pydantic",
    "snowflake": "apache-airflow-providers-snowflake",
    "starlette": "fastapi",
}
"""Library: the requirement that installs it, where that has another name."""

NOT_IMPORTED = {
    "PyMySQL",
    "apache-airflow-providers-amazon",
    "apache-airflow-providers-mysql",
    "apache-airflow-providers-sqlite",
    "cryptography",
    "httptools",
    "mysql-connector-python",
    "python-multipart",
    "scikit-learn",
    "uvloop",
}
"""Requirements that others load by name: SQLAlchemy, Airflow, PyMySQL, FastAPI, LightGBM, uvicorn."""

LIBRARIES = Path(sysconfig.get_path("purelib"))
"""The libraries of the environment that runs the tests."""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Return the wheel, built from a copy: setuptools leaves its work in the source folder."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in SOURCES:
        if (PROJECT / name).is_dir():
            shutil.copytree(PROJECT / name, source / name, ignore=ignore)
        else:
            shutil.copy(PROJECT / name, source / name)
    done = uv(
        *("build", "--wheel", "--offline", "--no-build-isolation", "--python", sys.executable, "--out-dir", built),
        folder=source,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = built.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def names(wheel) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def install(wheel, tmp_path_factory) -> Callable[[str], Path]:
    """Return what makes an environment with the wheel, one extra's locked requirements and nothing else."""

    def make(extra: str) -> Path:
        folder = tmp_path_factory.mktemp(extra)
        done = uv("venv", "--python", sys.executable, "environment", folder=folder)
        assert done.returncode == 0, done.stderr
        python = folder / "environment" / "bin" / "python"
        locked = ("--constraint", PROJECT / "requirements.txt", "--override", PROJECT / "requirements-overrides.txt")
        command = ("pip", "install", "--python", python, *locked, f"{NAME}[{extra}] @ {wheel.as_uri()}")
        # What `make install` left in uv's cache does; a cache without it is filled.
        done = uv(*command, "--offline", folder=folder)
        if done.returncode != 0:
            done = uv(*command, folder=folder)
        assert done.returncode == 0, done.stderr
        take_bytecode(Path(sysconfig.get_path("purelib", vars={"base": str(folder / "environment")})))
        return python.parent

    return make


def take_bytecode(packages: Path) -> None:
    """Give the environment's libraries the bytecode that this one has of the same files: to compile them takes long.

    uv links both to the files of its cache, so that their sources have one age. Python ignores bytecode of a source of
    another age or size.
    """
    if packages.stat().st_dev != LIBRARIES.stat().st_dev:  # uv has copied
        return
    for source in packages.rglob("*.py"):
        compiled = Path(cache_from_source(source))
        known = LIBRARIES / compiled.relative_to(packages)
        if known.exists():
            compiled.parent.mkdir(exist_ok=True)
            os.link(known, compiled)


@pytest.fixture(scope="module", params=sorted(EXTRAS))
def extra(request) -> str:
    return request.param


def runner(programs: Path, folder: Path) -> Run:
    """Return what runs a program of the environment in an empty folder, with nothing of this checkout in sight."""

    def run(program: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.defpath, "HOME": str(folder), "COLUMNS": "200", "AIRFLOW_HOME": str(folder)}
        command = [str(programs / program), *arguments]
        return subprocess.run(
            command, cwd=folder, env={**environment, **variables}, capture_output=True, text=True, check=False
        )

    return run


def test_the_wheel_has_the_modules_of_the_two_packages_and_nothing_of_the_lab(names):
    code = {name for name in names if name.endswith(".py")}
    assert code == {file.relative_to(PRODUCT).as_posix() for top in OWN for file in (PRODUCT / top).rglob("*.py")}
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == set(OWN)
    assert {"optimizer/control_plane/migrations/env.py", "optimization_tracking/migrations/env.py"} <= code


def test_the_wheel_has_every_file_that_the_code_reads(names):
    sql = PROJECT / "include" / "sql"
    wanted = {f"optimizer/sql/{file.relative_to(sql).as_posix()}" for file in sql.rglob("*.sql")}
    assert len(wanted) > 50
    files = [file for top in OWN for file in (PRODUCT / top).rglob("*") if file.suffix in DATA]
    wanted |= {file.relative_to(PRODUCT).as_posix() for file in files}
    pages = "optimization_tracking/dashboard"
    assert {"optimizer/bidder/openrtb/openrtb.toml", "optimizer/reporting/report.html.j2"} <= wanted
    assert {"optimizer/presentation/web/static/charts.js", f"{pages}/templates/runs.html.j2"} <= wanted
    assert wanted - names == set()


def test_the_wheel_has_the_license_and_the_notices(names):
    assert {Path(name).name for name in names if ".dist-info/licenses/" in name} == {"LICENSE", "NOTICE"}


def test_an_extra_names_all_that_its_part_imports_and_nothing_else(extra):
    libraries, deep = libraries_of(extra), requirements_of(extra)
    named = {name.lower().replace("-", "_") for name in deep}
    assert {name for name in libraries if name not in named and COMES_WITH.get(name) not in deep} == set()
    used = libraries | {COMES_WITH.get(name) for name in libraries}
    idle = {name for name in requirements_of(extra, is_deep=False) if name.lower().replace("-", "_") not in used}
    assert idle - used - NOT_IMPORTED == set()


def test_the_client_queues_a_run_on_disk_and_the_other_programs_name_their_extras(install, tmp_path):
    run = runner(install("client"), tmp_path)
    imports_all_of("client", run)
    code = (
        "from optimization_tracking.client import track_run\n"
        "with track_run('nightly', optimizer_type='custom', flush_s=0) as run: run.log_iteration(0, score=0.5)\n"
        "print(sum(run.report().waiting.values()))"
    )
    queue = tmp_path / "queue"
    done = run(
        *("python", "-c", code),
        OPTIMIZER_TRACKING_API_URL="http://127.0.0.1:9",
        OPTIMIZER_TRACKING_KEY="sk_live_none",
        OPTIMIZER_TRACKING_QUEUE=str(queue),
    )
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr  # create, iteration, update
    assert list(queue.rglob("*"))
    for program, name in (
        (("optimizer", "runs"), "cli"),
        (("python", "-m", "optimizer.bidder"), "bidder"),
        (("python", "-m", "optimization_tracking"), "tracking"),
    ):
        done = run(*program)
        assert (done.returncode, done.stdout) == (1, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: the module ") and f"pip install '{NAME}[{name}]'" in line


def test_the_bidder_starts(install, tmp_path):
    run = runner(install("bidder"), tmp_path)
    imports_all_of("bidder", run)
    assert " serve " in run("python", "-m", "optimizer.bidder", "--help").stdout
    code = (
        "from optimizer.bidder.openrtb import OpenRtb, read_mapping\n"
        "from optimizer.bidder.service import BidderService\n"
        "from optimizer.bidder.settings import connect, read_settings\n"
        "from optimizer.bidder.web import create_app\n"
        "settings = read_settings()\n"
        "openrtb = OpenRtb(read_mapping(settings.openrtb_file), currency=settings.currency)\n"
        "print(*(route.path for route in create_app(BidderService(connect(settings)), openrtb=openrtb).pages.routes))"
    )
    done = run(
        *("python", "-c", code),
        OPTIMIZER_CONTROL_PLANE_URL=f"sqlite:///{tmp_path}/none.db",
        AWS_DEFAULT_REGION="us-east-1",
    )
    assert "/bid/{entity_code} /price" in done.stdout, done.stderr


def test_tracking_finds_its_queries_pages_and_migrations(install, tmp_path):
    run = runner(install("tracking"), tmp_path)
    imports_all_of("tracking", run)
    assert " serve " in run("python", "-m", "optimization_tracking", "--help").stdout
    code = (
        "from optimization_tracking.app import create_app\n"
        "from optimization_tracking.queries import SQL_FOLDER, render_query\n"
        "from optimization_tracking.schema import head_revision\n"
        "create_app(database_url='postgresql://nobody@127.0.0.1:9/none')\n"
        "scripts = [*(SQL_FOLDER / 'migrations').glob(f'{head_revision()}_*.sql')]\n"
        "print(SQL_FOLDER.parent.parent.name, b'SELECT' in render_query('list_projects'))\n"
        "print(*sorted(script.name for script in scripts))"
    )
    done = run("python", "-c", code)
    found, scripts = done.stdout.splitlines()
    assert found == "optimizer True", done.stderr
    (revision,) = {name.partition("_")[0] for name in scripts.split()}
    source = (PROJECT / "include/sql/postgres/migrations").glob(f"{revision}_*.sql")
    assert scripts.split() == sorted(script.name for script in source)


def test_the_command_line_makes_a_control_plane_and_reads_it(install, tmp_path):
    run = runner(install("cli"), tmp_path)
    imports_all_of("cli", run)
    database = {"OPTIMIZER_CONTROL_PLANE_URL": f"sqlite:///{tmp_path}/control_plane.db"}
    assert " migrate " in run("optimizer", "--help").stdout
    done = run("optimizer", "migrate", **database)
    assert done.returncode == 0 and "is at revision" in done.stdout, done.stderr
    assert json.loads(run("optimizer", "runs", "--json", **database).stdout) == []
    done = run("optimizer", "runs", "--local")
    assert (done.returncode, done.stdout) == (1, "")
    assert "in a checkout" in done.stderr
    done = run("optimizer", "runs", OPTIMIZER_CONTROL_PLANE_URL="mysql+mysqlconnector://someone@127.0.0.1:9/optimizer")
    assert (done.returncode, done.stdout) == (1, "")
    assert "the driver of mysql+mysqlconnector is not installed" in done.stderr and "Traceback" not in done.stderr


def test_a_dask_worker_loads_the_training(install, tmp_path):
    run = runner(install("dask"), tmp_path)
    assert imports_all_of("dask", run, first="import lightgbm; print(lightgbm.DaskLGBMRegressor.__name__)\n") == [
        "DaskLGBMRegressor"
    ]
    assert "--nthreads" in run("dask", "worker", "--help").stdout


def test_airflow_loads_the_dags_the_plugin_and_the_statements(install, tmp_path):
    run = runner(install("airflow"), tmp_path)
    write_documented_dag_file(tmp_path)
    database = tmp_path / "control_plane.db"
    assert run("optimizer", "migrate", OPTIMIZER_CONTROL_PLANE_URL=f"sqlite:///{database}").returncode == 0
    found = imports_all_of(
        "airflow",
        run,
        first=DAGS_FOUND + PLUGIN_FOUND + STATEMENT_FOUND,
        AIRFLOW__CORE__LOAD_EXAMPLES="False",
        MPLCONFIGDIR=mpl.get_cachedir(),  # the fonts are known
        AIRFLOW_CONN_OPTIMIZER_CONTROL_PLANE=json.dumps({"conn_type": "sqlite", "host": str(database)}),
    )
    assert [line for line in found if "[info " not in line] == [
        "['deploy', 'monitor', 'pending_runs', 'retention'] {}",
        "{} ['/optimizer', '/api/optimization']",
        "['/optimizer']",
        "optimizer True",
    ]


PLUGIN_FOUND = """
import sys
from airflow import plugins_manager
(plugin,) = [one for one in plugins_manager.get_plugin_info() if one['name'] == 'optimizer']
apps, _ = plugins_manager.get_fastapi_plugins()
print(plugins_manager.get_import_errors(), [app['url_prefix'] for app in apps])
plugin = next(one for one in plugins_manager._get_plugins()[0] if one.name == 'optimizer')
sys.modules['psycopg_pool'] = None
print([app['url_prefix'] for app in plugin.fastapi_apps])
del sys.modules['psycopg_pool']
"""

DAGS_FOUND = """
from airflow.dag_processing.dagbag import DagBag
bag = DagBag('dags', safe_mode=True)
print(sorted(bag.dag_ids), bag.import_errors)
"""

STATEMENT_FOUND = """
from optimizer.warehouse.queries import SQL_FOLDER, render_query
query = render_query('segment_cells', features=['os_code'], block_hours=6)
print(SQL_FOLDER.parent.parent.name, 'os_code' in query)
"""


def write_documented_dag_file(folder: Path) -> None:
    """Write the DAG file of docs/production.md to the folder `dags`."""
    blocks = re.findall(r"```python\n(.*?)```", (PROJECT / "docs" / "production.md").read_text(), flags=re.DOTALL)
    (text,) = [block for block in blocks if "build_dags" in block]
    (folder / "dags").mkdir()
    (folder / "dags" / "optimizer_dags.py").write_text(textwrap.dedent(text))


def imports_all_of(extra: str, run: Run, *, first: str = "", **variables: str) -> list[str]:
    """Pass where every module that the extra is for loads, from the environment and not from this checkout.

    Returns the lines that the code `first` printed, which is run before.
    """
    modules = [name for name in map(module_name, modules_of(extra)) if ".migrations" not in name]
    code = (
        f"{first}import importlib, sys\nfor name in {[name for name in modules if not name.endswith('__main__')]}:\n"
        "    importlib.import_module(name)\n"
        "print(sys.modules['optimizer'].__file__)"
    )
    done = run("python", "-c", code, **variables)
    assert done.returncode == 0, done.stderr
    *before, place = done.stdout.splitlines()
    assert "site-packages" in place
    return before
