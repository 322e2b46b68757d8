"""
The wheel is complete: built from this checkout and installed where nothing else is, it does the
main job on every Python that is here.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.pages import ROOT, excerpt, missing

VERSIONS = ("3.11", "3.12", "3.13")
# What is no source; caches are written by other tests meanwhile.
UNSOURCED = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__")


def interpreters():
    """
    One interpreter of each version, from PATH or from pyenv; the one that runs this, in any case.
    """
    found = {f"{sys.version_info[0]}.{sys.version_info[1]}": Path(sys.executable).resolve()}
    for version in VERSIONS:
        places = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
        on_path = shutil.which(f"python{version}")
        for place in [*places, *([Path(on_path)] if on_path else [])]:
            if version not in found and runs(place):
                found[version] = place
    return found


def runs(place):
    """
    A name on PATH may be a shim that leads nowhere.
    """
    return (
        subprocess.run([place, "-c", "import venv"], capture_output=True, check=False).returncode
        == 0
    )


@pytest.fixture(scope="module")
def place():
    """
    A directory of its own, which goes at once: an environment is 300 MB.
    """
    with tempfile.TemporaryDirectory(prefix="codecage-wheel-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture(scope="module")
def wheel(place):
    source = place / "source"
    shutil.copytree(ROOT, source, ignore=UNSOURCED)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", place, source],
        check=True,
        capture_output=True,
    )
    (built,) = place.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, place):
    """
    By version, the Python of a new environment with the wheel and what its `server` needs; and
    another one of 3.13, for more to be added.
    """
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    lock = place / "server.txt"
    locked = (ROOT / "requirements" / "server.txt").read_text()
    # With the extra, so that a dependency which the lock has not is an error.
    lock.write_text(f"{locked}codecage[server] @ {wheel.as_uri()} --hash=sha256:{digest}\n")

    def install(name, interpreter):
        subprocess.run([interpreter, "-m", "venv", "--without-pip", place / name], check=True)
        python = place / name / "bin" / "python"
        pip(python, "--require-hashes", "--requirement", lock)
        return python

    found = {version: one for version, one in interpreters().items() if version in VERSIONS}
    if "3.13" in found:
        found["extra"] = found["3.13"]
    with ThreadPoolExecutor(2) as at_once:
        return dict(zip(found, at_once.map(install, found, found.values()), strict=True))


def pip(python, *what):
    """
    Install with the pip of the tests: an environment's own would be unpacked for each.
    """
    options = ["--quiet", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "--python", python, "install", *options, *what]
    subprocess.run(command, check=True)


@pytest.mark.image
@pytest.mark.parametrize("version", VERSIONS)
def test_the_wheel_alone_passes_the_demo(installed, version, tmp_path):
    if version not in installed:
        pytest.skip(f"no Python {version} here")
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=UNSOURCED)
    done = subprocess.run(
        [installed[version], tmp_path / "examples" / "demo.py"],
        cwd=tmp_path,
        env=unled(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "| 2025 Q4 | 357,466.00 | +22.0% |" in done.stdout
    assert "TypeError: " in done.stdout
    assert not missing(excerpt("## What it looks like"), done.stdout), done.stdout


def unled():
    """
    The environment without what would lead to this checkout.
    """
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@pytest.mark.image
def test_with_the_extra_build_the_audit_counts_imports_and_reads_pyodides_lock(installed, tmp_path):
    if "extra" not in installed:
        pytest.skip("no Python 3.13 here")
    python = installed["extra"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = project["optional-dependencies"]["build"]
    pip(python, *extra, "pytest", "hypothesis", "psutil")
    shutil.copytree(ROOT / "tests", tmp_path / "tests", ignore=UNSOURCED)
    files = ("test_wheel_audit.py", "test_wheel_sources.py")
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "-rs", *(f"tests/executor/images/{name}" for name in files)],
        cwd=tmp_path,
        env=unled(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "pyodide_lock" not in done.stdout, "the tests that need the extra were skipped"
    assert "needs the extra" not in done.stdout
