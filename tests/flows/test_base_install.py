"""The wheel, in a venv and a folder of its own: whole, enough for the gate alone, and runs in full."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.flows.conftest import ROOT
from tests.runtime.gate_builders import bundle_folder

pytestmark = pytest.mark.long

PACKAGES = ("feature_repo", "runtime", "meta_models", "reports", "flows")
OUTPUTS = shutil.ignore_patterns("__pycache__", "*.json", "*.csv", "*.png", "*.html")

DECIDE = """
import sys
import numpy as np
from runtime import Candidate, MetaFilter, Reason
from runtime.candidate import Entry, SigType, Tier
from feature_repo import FeatureWindow
from feature_repo.instruments import INSTRUMENTS, SIMULATED_SYMBOL

window = FeatureWindow(T=64, instrument=INSTRUMENTS["simulated", SIMULATED_SYMBOL])
gate = MetaFilter.load(sys.argv[1], source=window)
candidate = Candidate(
    10**18, SIMULATED_SYMBOL, 1, SigType.MOMENTUM, Tier.A, 3500.0, 20.0, 18.0, 0.5, Entry.IOC, 10**18 + 10**9
)
allow, p, size = gate.allow(candidate, 10**18 + 2_000_000)
assert (allow, size) == (False, 0.0)
assert gate.allow(candidate, 10**18 + 2_000_000).reason is Reason.NO_WINDOW
x = np.zeros((1, 64, 24), np.float32)
p = gate._bundle.predict(x, np.zeros((1, 8), np.float32))
assert 0 <= float(p[0]) <= 1
loaded = {"torch", "pandas", "prefect", "sklearn", "feast", "hftbacktest", "duckdb"} & set(sys.modules)
assert not loaded, loaded
print("decided with the base install")
"""

IMPORT_ALL = """
import importlib, pkgutil, sys
from flows.environment import configure
configure()
names = []
for package in sys.argv[1:]:
    found = importlib.import_module(package)
    names += [package, *(m.name for m in pkgutil.walk_packages(found.__path__, package + "."))]
for name in names:
    assert importlib.import_module(name).__file__.startswith(sys.prefix), name
from feature_repo.offline import apply_definitions
apply_definitions()
print(len(names), "modules")
"""


@dataclass(frozen=True)
class Venv:
    """A venv that knows nothing of the checkout, and an empty folder to run in."""

    root: Path
    work: Path

    @classmethod
    def at(cls, folder: Path) -> Venv:
        made = cls(folder / "venv", folder / "work")
        made.work.mkdir()
        call(sys.executable, "-m", "venv", "--without-pip", str(made.root))
        return made

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A program of the venv; the compiled kernels of all calls are kept beside it."""
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(self.root), "NUMBA_CACHE_DIR": str(self.root / "cache")}
        environment |= {"COLUMNS": "160", "DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
        program = str(self.root / "bin" / command[0])
        return subprocess.run(
            [program, *command[1:]],
            capture_output=True, text=True, timeout=300, cwd=self.work, env=environment, check=False,
        )  # fmt: skip

    def install(self, *arguments: str) -> None:
        """With the pip of this Python: a venv without one is made in a tenth of the time."""
        pip = [sys.executable, "-m", "pip", "--python", str(self.root / "bin" / "python"), "install", "--quiet"]
        call(*pip, "--no-compile", *arguments)


def call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=560, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy: what an earlier build left in the checkout would go into it as well."""
    folder = tmp_path_factory.mktemp("wheel")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / "source" / package, ignore=OUTPUTS)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder / "source" / name)
    call(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder), str(folder / "source"))
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def base(wheel, tmp_path_factory) -> Venv:
    """The base install: numpy, numba, onnxruntime and pyarrow as locked, and what they need."""
    venv = Venv.at(tmp_path_factory.mktemp("base"))
    # A constraint, not a requirement: of the lock only what the base extra asks for is installed.
    venv.install("--constraint", str(ROOT / "requirements.lock"), str(wheel))
    return venv


@pytest.fixture(scope="module")
def full(wheel, tmp_path_factory) -> Venv:
    """All libraries of this Python, but the project from the wheel: its editable .pth is not followed from here."""
    venv = Venv.at(tmp_path_factory.mktemp("full"))
    venv.install("--no-deps", str(wheel))
    (site,) = venv.root.glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return venv


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Path:
    """A release of a graph made by hand: what is installed is looked at here, and not what was trained."""
    return bundle_folder(tmp_path_factory.mktemp("releases"))


def test_the_wheel_holds_every_file_of_the_packages_and_no_other(wheel):
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    source = wheel.parent / "source"
    assert held == {
        str(path.relative_to(source)) for p in PACKAGES for path in (source / p).rglob("*") if path.is_file()
    }
    assert {"feature_repo/feature_store.yaml", "feature_repo/feature_store.redis.yaml"} <= held
    assert "feature_repo/.feastignore" in held


def test_a_bundle_loads_with_the_base_install(base, release):
    installed = {path.name for path in base.root.glob("lib/python*/site-packages/*")}
    assert {"numpy", "runtime"} <= installed
    assert not {"torch", "pandas"} & installed
    ran = base.run("python", "-c", DECIDE, str(release))
    assert ran.returncode == 0, ran.stderr
    assert "decided with the base install" in ran.stdout


def test_the_command_of_a_base_install_says_what_is_missing(base):
    said = base.run("ofi-meta", "--help")
    assert said.returncode == 2
    assert "this command needs typer" in said.stderr
    assert "Traceback" not in said.stderr


def test_every_module_comes_from_the_wheel_and_the_store_has_its_configuration(full):
    ran = full.run("python", "-c", IMPORT_ALL, *PACKAGES)
    assert ran.returncode == 0, ran.stderr[-2_000:]
    assert int(ran.stdout.split()[0]) > 200
    assert (full.work / "data" / "feast" / "registry.db").is_file()


@pytest.mark.parametrize("arguments", [("--help",), ("shadow", "--help"), ("release", "list", "--releases")])
def test_a_command_runs_outside_the_checkout(full, release, arguments):
    """None that compiles kernels: those of the wheel do so in the base install above."""
    last = (str(release.parent),) if arguments[-1] == "--releases" else ()
    done = full.run("ofi-meta", *arguments, *last)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert not last or release.name in done.stdout
    assert {path.name for path in full.work.iterdir()} <= {"data"}
