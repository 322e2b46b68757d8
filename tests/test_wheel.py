"""
The wheel is complete: built from this checkout and installed where nothing else is, it does the
main job on every Python that is here.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
VERSIONS = ("3.11", "3.12", "3.13")


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
def wheel(tmp_path_factory):
    target = tmp_path_factory.mktemp("wheel")
    source = target / "source"
    ignored = shutil.ignore_patterns(".git", ".venv", "build", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, source, ignore=ignored)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", target, source],
        check=True,
        capture_output=True,
    )
    (built,) = target.glob("*.whl")
    return built


def installed(interpreter, wheel, place, *extra):
    """
    The Python of a new environment with the wheel, what its `server` needs, and `extra`.
    """
    subprocess.run([interpreter, "-m", "venv", place], check=True)
    python = place / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    lock = ROOT / "requirements" / "server.txt"
    subprocess.run([*install, "--require-hashes", "--requirement", lock], check=True)
    subprocess.run([*install, "--no-deps", wheel], check=True)
    if extra:
        subprocess.run([*install, *extra], check=True)
    return python


@pytest.mark.image
@pytest.mark.parametrize("version", VERSIONS)
def test_the_wheel_alone_passes_the_demo(wheel, version, tmp_path):
    interpreter = interpreters().get(version)
    if interpreter is None:
        pytest.skip(f"no Python {version} here")
    python = installed(interpreter, wheel, tmp_path / "venv")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, tmp_path / "examples" / "demo.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "| 2025 Q4 | 357,466.00 | +22.0% |" in done.stdout
    assert "TypeError: " in done.stdout
    assert re.search(r"^whole: \d+ records", done.stdout, re.MULTILINE)
    for refused in ("FileNotFoundError", "OSError", "PermissionError"):
        assert f"    {refused}: [Errno" in done.stdout
    assert "KeyboardInterrupt: a limit of the cell is reached" in done.stdout


@pytest.mark.image
def test_with_the_extra_build_the_audit_counts_imports_and_reads_pyodides_lock(wheel, tmp_path):
    interpreter = interpreters().get("3.13")
    if interpreter is None:
        pytest.skip("no Python 3.13 here")
    extra = (
        "pyodide-build>=0.39,<0.40",
        "pyodide-lock>=0.2,<0.3",
        "pytest",
        "hypothesis",
        "psutil",
    )
    python = installed(interpreter, wheel, tmp_path / "venv", *extra)
    shutil.copytree(ROOT / "tests", tmp_path / "tests")
    files = ("test_wheel_audit.py", "test_wheel_sources.py")
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "-rs", *(f"tests/executor/images/{name}" for name in files)],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "pyodide_lock" not in done.stdout, "the tests that need the extra were skipped"
    assert "needs the extra" not in done.stdout
