"""Where MariaDB's system tables are found: Debian's layout is the real one, Homebrew's is laid out here."""

from pathlib import Path

import pytest

from lab.stack.mariadb import SYSTEM_TABLES, system_tables_sql


def test_the_system_tables_are_found_next_to_a_linked_server_as_homebrew_lays_it_out(tmp_path: Path):
    cellar = tmp_path / "Cellar" / "mariadb" / "11.8.2"
    for folder in (cellar / "bin", cellar / "share" / "mysql", tmp_path / "bin"):
        folder.mkdir(parents=True)
    for name in SYSTEM_TABLES:
        (cellar / "share" / "mysql" / name).write_text(f"-- {name};")
    (cellar / "bin" / "mariadbd").touch()
    link = tmp_path / "bin" / "mariadbd"
    link.symlink_to(cellar / "bin" / "mariadbd")
    assert system_tables_sql(link) == "".join(f"-- {name};" for name in SYSTEM_TABLES)


def test_missing_system_tables_are_an_error_that_names_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lab.stack.mariadb.SYSTEM_TABLES", ("no_such_file.sql",))
    with pytest.raises(
        RuntimeError, match=rf"{tmp_path}/share/mysql.*/usr/share/mariadb; install the package"
    ) as raised:
        system_tables_sql(tmp_path / "bin" / "mariadbd")
    assert "no_such_file.sql" in str(raised.value)
