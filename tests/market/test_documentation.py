"""The example in docs/simulation.md prints what the page says."""

import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "simulation.md"


def test_the_example_prints_what_the_page_shows():
    code, expected = re.findall(r"```(?:python|text)\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    printed = StringIO()
    with redirect_stdout(printed):
        exec(compile(code, PAGE, "exec"), {})  # noqa: S102
    assert printed.getvalue() == expected
