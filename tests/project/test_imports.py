"""The architecture, as rules on imports: read from the sources, so that lazy imports count too."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "plugins" / "optimizer"
OUTSIDE = {
    "airflow",
    "boto3",
    "botocore",
    "httpx",
    "mysql",
    "pymysql",
    "requests",
    "snowflake",
    "socket",
    "sqlalchemy",
    "urllib3",
}

FORBIDDEN = {
    "core": OUTSIDE
    | {"lightgbm", "os", "random", "time", "optimizer.control_plane", "optimizer.warehouse", "optimizer.artifacts"},
    "simulation": OUTSIDE,
    "second_market": OUTSIDE | {"lightgbm", "optimizer.simulation", "optimizer.warehouse", "optimizer.pipeline"},
    "training": OUTSIDE,
    "reporting": OUTSIDE
    | {"lightgbm", "os", "random", "time", "matplotlib.pyplot"}
    | {f"optimizer.{room}" for room in ("control_plane", "warehouse", "artifacts", "pipeline", "training")},
    "control_plane": OUTSIDE - {"sqlalchemy"} | {"lightgbm"},
    "warehouse": OUTSIDE - {"snowflake"} | {"lightgbm"},
    "artifacts": OUTSIDE - {"boto3", "botocore"} | {"lightgbm"},
    "pipeline": OUTSIDE - {"sqlalchemy"} | {"lightgbm"},
    "bidder": OUTSIDE - {"boto3", "botocore", "sqlalchemy"}
    | {"lightgbm", "numpy", "pandas", "pyarrow"}
    | {f"optimizer.{room}" for room in ("local", "pipeline", "reporting", "simulation", "training", "warehouse")},
    "tracking": OUTSIDE - {"httpx", "sqlalchemy"}
    | {f"optimizer.{room}" for room in ("control_plane", "warehouse", "artifacts", "pipeline", "training", "local")},
    "tracking/client": OUTSIDE - {"httpx"}
    | {"alembic", "fastapi", "jinja2", "psycopg", "psycopg_pool", "pyarrow", "rich", "starlette", "typer", "uvicorn"}
    | {f"optimizer.tracking.{part}" for part in ("app", "callers", "commands", "database", "keys", "routes", "tables")},
    "bench": OUTSIDE - {"snowflake", "sqlalchemy"} | {"optimizer.orchestration"},
}
"""What no module of a room may import."""

ONLY_IN = {
    "airflow": {"orchestration", "plugin.py"},
    "lightgbm": {"training", "bench"},
    "matplotlib": {"reporting"},
    "optuna": {"training", "bench"},
    "fakesnow": {"local", "truth", "bench"},
    "fastapi": {"tracking", "plugin.py"},
    "psycopg": {"tracking"},
    "pymemcache": {"bidder"},
    "tenacity": {"tracking"},
    "starlette": {"bidder", "local", "tracking"},
    "typer": {"cli", "truth", "bench", "bidder", "tracking"},
}
"""Rooms that alone may import a library."""


def imports_of(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import; Airflow may load a module under another name"
            names |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def files_of(room: str) -> list[Path]:
    return sorted((PACKAGE / room).rglob("*.py"))


def touches(name: str, library: str) -> bool:
    return name == library or name.startswith(library + ".")


@pytest.mark.parametrize("room", FORBIDDEN)
def test_a_room_imports_nothing_it_should_not_know(room):
    found = [
        f"{file.relative_to(PACKAGE)} imports {name}"
        for file in files_of(room)
        for name in imports_of(file)
        if any(touches(name, library) for library in FORBIDDEN[room])
    ]
    assert files_of(room) and found == []


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_stays_in_its_room(library):
    rooms = {
        file.relative_to(PACKAGE).parts[0]
        for file in PACKAGE.rglob("*.py")
        if any(touches(name, library) for name in imports_of(file))
    }
    assert rooms <= ONLY_IN[library]


def test_the_core_and_the_control_plane_load_without_airflow_lightgbm_and_drivers():
    code = (
        "import sys, optimizer.core.bidding, optimizer.core.features, optimizer.control_plane.runs;"
        "print(sorted({'airflow', 'lightgbm', 'boto3', 'snowflake.connector', 'mysql', 'pymysql'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_bidder_loads_with_what_it_needs_alone():
    modules = [f"optimizer.bidder.{file.stem}" for file in files_of("bidder")]
    code = (
        f"import sys, importlib; [importlib.import_module(name) for name in {modules}];"
        "heavy = {'airflow', 'alembic', 'lightgbm', 'matplotlib', 'numpy', 'pandas', 'scipy', 'snowflake.connector'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_tracking_client_loads_with_httpx_pydantic_and_tenacity_alone():
    modules = [f"optimizer.tracking.client.{file.stem}" for file in files_of("tracking/client")]
    code = (
        f"import sys, importlib; [importlib.import_module(name) for name in {modules}];"
        "service = {'airflow', 'alembic', 'fastapi', 'jinja2', 'numpy', 'psycopg', 'sqlalchemy', 'starlette', 'typer'};"
        "print(sorted(service & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_the_bidder_needs_alone_is_locked_with_the_rest():
    project = PACKAGE.parents[1]
    needed, whole = (
        {line for line in (project / name).read_text().splitlines() if line and not line.startswith("#")}
        for name in ("requirements-bidder.in", "requirements.in")
    )
    assert needed and needed <= whole


def test_airflow_finds_one_plugin_and_ignores_the_rest_of_the_package():
    assert (PACKAGE / ".airflowignore").read_text().split() == ["*", "!/plugin.py"]
    assert not [file for file in PACKAGE.rglob("*.py") if "optimizer.plugin" in imports_of(file)]
