import re

import pytest

from lab.reference.markdown import table
from lab.reference.metrics import SECTIONS, sections_written
from lab.reference.packages import layers
from lab.reference.pages import FOLDER, render_pages
from lab.reference.tables import read_notes
from optimizer.control_plane.tables import VERSION_TABLE, metadata
from optimizer.core.config.settings import RunSettings
from optimizer.sql_files import sql_folder


def test_the_reference_pages_are_what_the_code_says_now():
    committed = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert committed == render_pages(), "run `python -m lab.reference` and commit docs/reference"


def test_every_section_of_a_runs_metrics_is_explained():
    assert set(SECTIONS) == sections_written().keys()


def test_a_sections_meaning_names_keys_that_are_written_or_configured():
    for section, names in sections_written().items():
        assert set(re.findall(r"`(\w+)`", SECTIONS[section])) <= {*names, *RunSettings.model_fields}, section


def test_every_comment_of_the_schema_belongs_to_a_table_and_a_column_of_the_code():
    notes = read_notes((sql_folder("mysql") / "schema.sql").read_text(encoding="utf-8"))
    known = {name: {"", *rows.c.keys()} for name, rows in metadata.tables.items()}
    assert set(notes) == {*known, VERSION_TABLE}
    for name in known:
        columns = notes[name]
        assert set(columns) <= known[name]
        assert columns[""], f"{name} has no comment of its own"


def test_layers_put_each_package_above_what_it_imports():
    assert layers({"cli": {"runs", "core"}, "runs": {"core"}, "core": set()}) == [["core"], ["runs"], ["cli"]]


def test_packages_that_import_each_other_have_no_layers():
    with pytest.raises(ValueError, match="import each other"):
        layers({"runs": {"steps"}, "steps": {"runs"}})


def test_a_cell_breaks_neither_its_table_nor_the_page():
    assert (
        table(["a"], [["x|y\nruns/<code>/ and `<code>`"]]).splitlines()[2] == "| x\\|y runs/&lt;code>/ and `<code>` |"
    )
