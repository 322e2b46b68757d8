"""
The process cage of an ordinary user: user namespaces instead of root, and no control group.

Run by root, it makes another user of itself (`another_user.py`).
"""

import json
import os
import sys

import pytest

from tests.e2e.another_user import USER, cache_of_core, overlaid
from tests.e2e.serving import ROOT, needs_image, private_directory

HEAD = (
    "version: 1\nname: {name}\ndescription: a test's policy\ncage: process\n"
    "image: native-core\nlimits: {{memory: 64Mi, cpu_time: 1s}}\n"
)
pytestmark = [
    pytest.mark.image,
    needs_image,
    pytest.mark.skipif(os.geteuid() != 0, reason="for root, who becomes an ordinary user"),
]


def test_an_ordinary_user_serves_native_sessions_at_p3() -> None:
    if overlaid("true").returncode != 0:
        pytest.skip("no overlay can be mounted here")
    with private_directory() as own, private_directory() as policies:
        policies.chmod(0o755)
        shown = policies / "shown"
        shown.mkdir()
        (shown / "a.txt").write_text("x")
        (policies / "plain.yaml").write_text(
            HEAD.format(name="plain")
            + f"filesystem: [{{mount: /data, source: {shown}, access: read}}]\n"
        )
        (policies / "strict.yaml").write_text(
            HEAD.format(name="strict") + "isolation: {require: [files, user]}\n"
        )
        cache_of_core(own)
        (own / "serving").mkdir(mode=0o700)
        os.chown(own / "serving", USER, USER)
        done = overlaid(
            *(sys.executable, "-m", "tests.e2e.ordinary_user", f"{own}/serving", str(policies)),
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(own),
                "CODECAGE_CACHE": str(own),
                "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}",
            },
        )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["user"] == USER
    assert told["isolation"].startswith("P3 (")
    assert told["parts"]["files"] == told["parts"]["calls"] == "HOLD_ENFORCED"
    # Every session is the same user of the host, and no control group counts.
    assert told["parts"]["user"] == told["parts"]["memory"] == "HOLD_PARTIAL"
    assert told["cells"] == [
        ["CELL_STATUS_OK", "", "(1000, [])"],
        ["CELL_STATUS_OK", "", "'x'"],
        ["CELL_STATUS_ERROR", "MemoryError"],
        ["CELL_STATUS_CPU_LIMIT", "KeyboardInterrupt"],
        ["CELL_STATUS_OK", "", "'alive'"],
        ["CELL_STATUS_OK", "", f"{30 << 20}"],
    ]
    assert 30 << 20 < told["peak"] < 1 << 30
    assert told["strict"].startswith("ISOLATION_TOO_WEAK: ")
    assert "user is partial (" in told["strict"]
    assert "files is" not in told["strict"]
    assert told["status"] == 0
