"""A name says one thing: no two public classes of the product share one."""

import ast
from collections import defaultdict
from pathlib import Path

PRODUCT = Path(__file__).parents[2] / "plugins"

SHARED = {"Run"}
"""A run of the optimizer and a run of any optimizer that is tracked: each product's own central word."""


def test_no_two_public_classes_of_the_product_share_a_name():
    found = defaultdict(list)
    for file in sorted(PRODUCT.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(str(file.relative_to(PRODUCT)))
    assert {name: files for name, files in found.items() if len(files) > 1 and name not in SHARED} == {}
