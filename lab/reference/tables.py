"""The page of the control plane's tables: columns from the code, their meaning from the comments of schema.sql."""

import re

from sqlalchemy import Column, ForeignKeyConstraint, PrimaryKeyConstraint, Table, UniqueConstraint
from sqlalchemy.dialects import mysql
from sqlalchemy.schema import CreateColumn

from lab.reference.markdown import code, table
from optimizer.control_plane.tables import metadata
from optimizer.sql_files import sql_folder

_INTRODUCTION = """\
# Tables of the control plane

Types are MySQL's, as `optimizer migrate` creates them. `include/sql/mysql/schema.sql` is the same schema for a DBA, and
`include/sql/mysql/grants.sql` has the rights of each account. Times are UTC. A row that another row refers to cannot be
deleted. Status `A` is active, `I` is inactive. The last column has the meaning, or an example value.
"""

_CREATE = re.compile(r"((?:^-- .*\n)*)^CREATE TABLE (\w+) \(\n((?:^ .*\n)*)^\)", re.MULTILINE)
_COLUMN = re.compile(r" {4}([a-z_0-9]+) ")


def tables_page() -> str:
    """Return the page."""
    notes = read_notes((sql_folder("mysql") / "schema.sql").read_text(encoding="utf-8"))
    return "\n".join([_INTRODUCTION, *(_section(it, notes[it.name]) for it in metadata.tables.values())])


def read_notes(schema: str) -> dict[str, dict[str, str]]:
    """Return the comments of a schema: for each table its columns' comments, and its own under the empty name.

    A comment is at the end of its column's line, or on the lines above it.
    """
    notes = {}
    for head, name, body in _CREATE.findall(schema):
        notes[name] = {"": " ".join(line.removeprefix("-- ") for line in head.splitlines())}
        above = ""
        for line in body.splitlines():
            text, _, comment = line.partition("--")
            if not text.strip():
                above = f"{above} {comment.strip()}".strip()
            elif column := _COLUMN.match(text):
                if note := f"{above} {comment.strip()}".strip():
                    notes[name][column[1]] = note
                above = ""
    return notes


def _section(rows: Table, notes: dict[str, str]) -> str:
    columns = [[code(column.name), _type(column), _keys(column, rows), notes.get(column.name, "")] for column in rows.c]
    unique = [
        ", ".join(code(column.name) for column in constraint.columns)
        for constraint in sorted(rows.constraints, key=lambda it: str(it.name))
        if isinstance(constraint, UniqueConstraint) and len(constraint.columns) > 1
    ]
    more = f"\nUnique together: {'; '.join(unique)}.\n" if unique else ""
    return f"## {rows.name}\n\n{notes['']}\n\n{table(['Column', 'Type', 'Key', 'Meaning or example'], columns)}{more}"


def _type(column: Column[object]) -> str:
    made = str(CreateColumn(column).compile(dialect=mysql.dialect()))
    return code(" ".join(made.split()[1:]))


def _keys(column: Column[object], rows: Table) -> str:
    found = []
    for constraint in sorted(rows.constraints, key=lambda it: str(it.name)):
        if column.name not in constraint.columns:
            continue
        if isinstance(constraint, PrimaryKeyConstraint):
            found.append("primary")
        elif isinstance(constraint, UniqueConstraint) and len(constraint.columns) == 1:
            found.append("unique")
        elif isinstance(constraint, ForeignKeyConstraint):
            targets = {it.parent.name: it.target_fullname for it in constraint.elements}
            found.append(f"→ {code(targets[column.name])}")
    return ", ".join(dict.fromkeys(found))
