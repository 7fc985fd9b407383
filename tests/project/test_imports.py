"""The architecture, as rules on imports: read from the sources, so that lazy imports count too."""

import subprocess
import sys
from pathlib import Path

import pytest

from lab.reference.packages import imports_of, parts_imported

PROJECT = Path(__file__).parents[2]
PRODUCT = PROJECT / "plugins"
PACKAGE = PRODUCT / "optimizer"
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
"""Libraries that reach another system."""

MAY_IMPORT = {
    "core": set(),
    "presentation": set(),
    "artifacts": set(),
    "clients": set(),
    "control_plane": {"core"},
    "warehouse": {"core"},
    "training": {"core"},
    "reporting": {"core", "presentation", "training"},
    "runs": {"artifacts", "control_plane", "core", "presentation", "reporting", "training", "warehouse"},
    "lifecycle": {"artifacts", "control_plane", "core", "deployment", "runs"},
    "deployment": {"artifacts", "control_plane", "core", "presentation", "reporting", "runs", "warehouse"},
    "steps": {
        *{"artifacts", "control_plane", "core", "deployment", "lifecycle"},
        *{"presentation", "reporting", "runs", "training", "warehouse"},
    },
    "bidder": {"artifacts", "control_plane", "core", "presentation"},
    "console": {
        *{"artifacts", "bidder", "control_plane", "core", "deployment", "lifecycle"},
        *{"presentation", "reporting", "runs"},
    },
    "orchestration": {
        "artifacts",
        "console",
        "control_plane",
        "core",
        "deployment",
        "lifecycle",
        "runs",
        "steps",
        "warehouse",
    },
    "cli": {
        *{"artifacts", "bidder", "clients", "control_plane", "core", "deployment", "lifecycle"},
        *{"presentation", "reporting", "runs"},
    },
}
"""Package of optimizer: the packages of optimizer that it may import. Nothing imports its callers."""

SHARED = {"errors", "names", "sql_files"}
"""Modules of optimizer that every package may import."""

TRACKING_SHARES = SHARED | {"presentation"}
"""What optimization_tracking, a product of its own, may import of optimizer."""

NEVER = {
    "core": OUTSIDE | {"lightgbm", "os", "random", "time"},
    "training": OUTSIDE,
    "reporting": OUTSIDE | {"lightgbm", "os", "random", "time", "matplotlib.pyplot"},
    "bidder": {"numpy", "pandas", "pyarrow"},
}
"""Package of optimizer: libraries that no module of it imports."""

ONLY_IN = {
    "airflow": {"orchestration", "plugin.py"},
    "alembic": {"control_plane", "optimization_tracking"},
    "boto3": {"artifacts", "bidder", "cli"},
    "dask": {"training"},
    "distributed": {"training"},
    "fastapi": {"console", "optimization_tracking", "plugin.py"},
    "httpx": {"clients", "optimization_tracking"},
    "lightgbm": {"training"},
    "matplotlib": {"reporting"},
    "mysql": {"control_plane"},
    "optuna": {"training"},
    "psycopg": {"optimization_tracking"},
    "pymemcache": {"bidder"},
    "pymysql": {"control_plane"},
    "snowflake": {"warehouse"},
    "sqlalchemy": {
        *{"bidder", "cli", "control_plane", "deployment", "lifecycle", "runs", "steps"},
        *{"orchestration", "optimization_tracking"},
    },
    "starlette": {"bidder", "console", "optimization_tracking", "presentation"},
    "tenacity": {"optimization_tracking"},
    "typer": {"bidder", "cli", "optimization_tracking"},
}
"""Libraries that only these packages import."""

CLIENT_NEVER = {
    *{"alembic", "fastapi", "jinja2", "psycopg", "psycopg_pool", "pyarrow", "rich", "starlette", "typer", "uvicorn"},
    *(f"optimization_tracking.{part}" for part in ("app", "auth", "commands", "database", "keys", "routes", "tables")),
}


def files_of(folder: str) -> list[Path]:
    files = sorted((PRODUCT / folder).rglob("*.py"))
    assert files, f"{folder} has no modules"
    return files


def touches(name: str, library: str) -> bool:
    return name == library or name.startswith(library + ".")


def output_of(code: str) -> str:
    """Return what a Python of its own prints that runs the code."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def forbidden(files: list[Path], libraries: set[str]) -> list[str]:
    return [
        f"{file.relative_to(PROJECT)} imports {name}"
        for file in files
        for name in sorted(imports_of(file))
        if any(touches(name, library) for library in libraries)
    ]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_packages_below_it(package):
    allowed = MAY_IMPORT[package] | SHARED | {package}
    found = [
        f"{file.relative_to(PROJECT)} imports optimizer.{name}"
        for file in files_of(f"optimizer/{package}")
        for name in sorted(parts_imported(file) - allowed)
    ]
    assert found == []


def test_every_package_has_its_row_in_the_table():
    assert {folder.parent.name for folder in PACKAGE.glob("*/__init__.py")} == set(MAY_IMPORT)


def test_the_table_has_no_circle_but_between_a_package_and_itself():
    order: list[str] = []
    while remaining := [name for name in MAY_IMPORT if name not in order]:
        ready = [name for name in remaining if MAY_IMPORT[name] <= set(order)]
        assert ready, f"these import each other: {remaining}"
        order += ready


def test_production_code_imports_none_of_the_lab():
    assert forbidden(files_of("optimizer") + files_of("optimization_tracking"), {"lab"}) == []


def test_production_code_imports_none_of_the_libraries_that_load_slowly_for_a_function():
    assert forbidden(files_of("optimizer") + files_of("optimization_tracking"), {"scipy.stats", "sklearn"}) == []


def test_training_needs_no_scikit_learn_and_loads_optuna_only_where_it_tunes():
    code = (
        "import sys; sys.modules['sklearn'] = None;"
        "import optimizer.training.fitting; print(sorted({'optuna', 'scipy.stats'} & set(sys.modules)))"
    )
    assert output_of(code) == "[]"


def test_tracking_imports_only_what_is_shared_on_purpose():
    found = [
        f"{file.relative_to(PROJECT)} imports optimizer.{name}"
        for file in files_of("optimization_tracking")
        for name in sorted(parts_imported(file) - TRACKING_SHARES)
    ]
    assert found == []


@pytest.mark.parametrize("package", NEVER)
def test_a_package_never_imports_these_libraries(package):
    assert forbidden(files_of(f"optimizer/{package}"), NEVER[package]) == []


def test_the_tracking_client_imports_nothing_of_the_service():
    assert forbidden(files_of("optimization_tracking/client"), CLIENT_NEVER) == []


def test_the_markets_of_the_lab_share_no_code_and_reach_no_system():
    markets = {name: sorted((PROJECT / "lab" / name).rglob("*.py")) for name in ("market", "second_market")}
    assert forbidden(markets["market"], OUTSIDE | {"lab.second_market"}) == []
    assert forbidden(markets["second_market"], OUTSIDE | {"lightgbm", "lab.market", "optimizer.runs"}) == []


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_stays_in_its_package(library):
    parts = {
        file.relative_to(PRODUCT).parts
        for file in PRODUCT.rglob("*.py")
        if any(touches(name, library) for name in imports_of(file))
    }
    packages = {path[1] if path[0] == "optimizer" else path[0] for path in parts}
    assert packages <= ONLY_IN[library]


def test_the_core_and_the_control_plane_load_without_airflow_lightgbm_and_drivers():
    code = (
        "import sys, optimizer.core.pricing.bids, optimizer.core.landscape.features, optimizer.control_plane.runs;"
        "print(sorted({'airflow', 'lightgbm', 'boto3', 'snowflake.connector', 'mysql', 'pymysql'} & set(sys.modules)))"
    )
    assert output_of(code) == "[]"


SLOW_TO_LOAD = (
    "airflow",
    "alembic",
    "boto3",
    "httpx",
    "lightgbm",
    "matplotlib",
    "numpy",
    "pandas",
    "scipy",
    "sqlalchemy",
)


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        ([], set()),
        (["--help"], set()),
        (["entities", "--help"], {"sqlalchemy"}),
        (["runs", "--help"], {"sqlalchemy"}),
        (["doctor", "--help"], {"alembic", "httpx", "sqlalchemy"}),
        (["deploy", "--help"], {"numpy", "pandas", "sqlalchemy"}),
    ],
)
def test_the_command_line_loads_what_a_command_needs_only_when_it_runs(arguments, needed):
    code = (
        "import contextlib, io, sys; from optimizer.cli.main import app\n"
        f"with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit): app({arguments})\n"
        f"print(sorted(set({SLOW_TO_LOAD}) & set(sys.modules)))"
    )
    assert output_of(code) == str(sorted(needed))


TABLE_LIBRARIES = ("lightgbm", "matplotlib", "numpy", "pandas", "pyarrow", "scipy", "snowflake.connector")


def test_a_task_loads_the_libraries_of_its_own_step_alone():
    steps = (
        ("snapshot_config", "approve", "promote", "close_run"),
        ("select_features", "train_models", "compute_bids", "validate", "upload", "register"),
        ("extract",),
    )
    tables = ["numpy", "pandas", "pyarrow", "scipy"]
    needed = ([], tables, sorted([*tables, "snowflake.connector"]))
    code = (
        "import sys, importlib, optimizer.lifecycle.guard, optimizer.orchestration.task_bodies;"
        "import optimizer.orchestration.connections\n"
        f"for names in {steps}:\n"  # one after the other: the later ones need all that the earlier ones do
        "    for name in names: importlib.import_module('optimizer.steps.' + name)\n"
        f"    print(sorted(set({TABLE_LIBRARIES}) & set(sys.modules)))"
    )
    assert output_of(code).splitlines() == [str(libraries) for libraries in needed]


def test_the_bidder_loads_with_what_it_needs_alone():
    files = (file.relative_to(PRODUCT).with_suffix("") for file in files_of("optimizer/bidder"))
    modules = [".".join(file.parts) for file in files]
    code = (
        f"import sys, importlib; [importlib.import_module(name) for name in {modules}];"
        "heavy = {'airflow', 'alembic', 'lightgbm', 'matplotlib', 'numpy', 'pandas', 'scipy', 'snowflake.connector'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert output_of(code) == "[]"


def test_the_tracking_client_loads_with_httpx_pydantic_and_tenacity_alone():
    modules = [f"optimization_tracking.client.{file.stem}" for file in files_of("optimization_tracking/client")]
    code = (
        f"import sys, importlib; [importlib.import_module(name) for name in {modules}];"
        "service = {'airflow', 'alembic', 'fastapi', 'jinja2', 'numpy', 'psycopg', 'sqlalchemy', 'starlette', 'typer'};"
        "print(sorted(service & set(sys.modules)))"
    )
    assert output_of(code) == "[]"


def test_airflow_finds_one_plugin_and_ignores_the_rest_of_the_package():
    assert (PACKAGE / ".airflowignore").read_text().split() == ["*", "!/plugin.py"]
    assert not [file for file in PACKAGE.rglob("*.py") if "optimizer.plugin" in imports_of(file)]
