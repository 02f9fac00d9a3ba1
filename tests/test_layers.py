"""Imports point one way (STYLE: commands -> ... -> frame, errors), and the package opens fast."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_imports_point_one_way() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_only_commands_import_training() -> None:
    """The extra that training needs is not needed for anything else."""
    importers = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "streamcolor").rglob("*.py")
        if "streamcolor.train" in path.read_text(encoding="utf-8")
    }
    assert importers <= {f"streamcolor/commands/{name}.py" for name in ("compare", "data", "train")}


def test_every_package_is_installed() -> None:
    """A new folder must be named in pyproject.toml, or it is missing in what pip installs."""
    listed = re.search(r"^packages = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.S | re.M)
    assert listed is not None
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "streamcolor").rglob("__init__.py")}
    assert sorted(re.findall(r'"(.*?)"', listed[1])) == sorted(found | {"streamcolor.configs", "streamcolor.train"})


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, streamcolor; sys.exit('torch' in sys.modules or 'av' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_help_does_not_import_torch() -> None:
    code = (
        "import sys\nfrom streamcolor.commands import main\n"
        "try:\n    main(['run', '--help'])\nexcept SystemExit:\n    sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0


def test_public_names_are_what_they_say() -> None:
    import streamcolor

    assert streamcolor.__all__ == sorted(streamcolor.__all__)
    for name in streamcolor.__all__:
        assert getattr(streamcolor, name).__name__ == name
