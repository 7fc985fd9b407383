"""What `optimizer demo` refuses before it starts anything."""

from pathlib import Path

import pytest
from cli.conftest import run


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "log.csv"
    path.write_text("bid_id\n")
    return str(path)


@pytest.mark.parametrize("given", [("bids",), ("bids", "views"), ("clicks",), ("views", "clicks")], ids="+".join)
def test_a_log_without_all_three_files_is_refused_before_anything_starts(
    tmp_path: Path, file: str, given: tuple[str, ...]
):
    options = [part for name in given for part in (f"--{name}", file)]
    result = run("demo", *options, home=tmp_path / "home")
    assert result.exit_code == 1
    assert "alone make no log; give --bids, --views and --clicks together" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "home").exists()


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    result = run("demo", "--bids", str(tmp_path / "lost.csv"), home=tmp_path / "home")
    assert result.exit_code == 2
    assert "lost.csv" in "".join(result.stderr.split())
    assert not (tmp_path / "home").exists()


def test_down_on_a_stack_that_is_stopped_is_fine(tmp_path: Path):
    for _ in range(2):
        result = run("down", home=tmp_path / "home")
        assert (result.exit_code, result.stdout) == (0, "the embedded stack is stopped\n")
