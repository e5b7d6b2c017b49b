"""The project as a whole: what is promised about it outside of the code."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
from importlib.metadata import entry_points, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts import docs
from zun_coe.adapters import Adapter, kinds
from zun_coe.config import Settings

ROOT = Path(__file__).resolve().parent.parent
SOMEBODYS_FOLDER = re.compile(r"/(?:home|Users)/(?!app\b)\w+")


def test_the_command_exists() -> None:
    (command,) = entry_points(group="console_scripts", name="zun-coe")
    assert callable(command.load())


def test_every_kind_of_cluster_loads() -> None:
    assert "native" in kinds()
    assert all(issubclass(adapter, Adapter) for adapter in kinds().values())


@pytest.mark.parametrize("name", ["configuration.md", "kinds.md", "reasons.md", "api.md"])
def test_the_reference_is_up_to_date(name: str) -> None:
    assert (docs.FOLDER / name).read_text() == docs.pages()[name], "run `make docs`"


def test_every_setting_is_explained() -> None:
    rows = [line for line in docs.configuration().splitlines() if line.startswith("| `")]
    assert len(rows) == len(Settings.__dataclass_fields__)


def test_links_of_the_readme_lead_somewhere() -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / "README.md").read_text())
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_requirements_are_pins_that_fit_the_declared_ones() -> None:
    pins = dict(line.split("==") for line in _lines(ROOT / "requirements.txt"))
    pins = {canonicalize_name(name): version for name, version in pins.items()}
    for declared in map(Requirement, _declared()):
        assert declared.specifier.contains(pins[canonicalize_name(declared.name)]), declared


def test_everything_imported_is_declared() -> None:
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    declared = {canonicalize_name(Requirement(line).name) for line in _entries(settings["options"]["install_requires"])}
    provided = packages_distributions()
    foreign = {name for name in _imported() if name not in sys.stdlib_module_names and name != "zun_coe"}
    assert {name for name in foreign if not declared & set(map(canonicalize_name, provided.get(name, [])))} == set()


@pytest.mark.parametrize("script", ["scripts/venv", "scripts/lock", "scripts/packages", ".ci/run"])
def test_scripts_can_be_run(script: str) -> None:
    path = ROOT / script
    assert path.stat().st_mode & 0o111
    shell = path.read_text().splitlines()[0].removeprefix("#!")
    subprocess.run([shell, "-n", path], check=True)


def test_nothing_depends_on_where_it_was_written() -> None:
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found = []
    for name in filter(None, listed.split("\0")):
        text = (ROOT / name).read_text(errors="replace") if (ROOT / name).is_file() else ""
        if (len(ROOT.parts) > 2 and str(ROOT) in text) or SOMEBODYS_FOLDER.search(text):
            found.append(name)
    assert found == []


def _lines(path: Path) -> list[str]:
    return _entries(path.read_text())


def _entries(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def _imported() -> set[str]:
    """The first part of each module's name that the package imports, wherever in a file."""
    names: set[str] = set()
    for path in (ROOT / "zun_coe").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
    return names


def _declared() -> list[str]:
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    texts = settings["options"]["install_requires"], settings["options.extras_require"]["test"]
    return [line for text in texts for line in _entries(text)]
