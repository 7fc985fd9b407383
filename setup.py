"""The build step that pyproject.toml cannot express: the wheel contains a copy of include/sql."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithSql(build_py):
    """Copy include/sql into the wheel, as optimizer/sql; an editable install reads it where it is."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            shutil.copytree("include/sql", Path(self.build_lib) / "optimizer" / "sql", dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithSql})
