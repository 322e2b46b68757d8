"""
What the page for clients in other languages says, spoken to a real server with grpcio alone.
"""

import re
import subprocess
import sys

import grpc
import pytest

from codecage import values
from codecage.v1 import codecage_pb2 as pb
from tests.e2e.serving import ROOT, RUN_AS, needs_image, private_directory, serving
from tests.pages import blocks

PAGE = (ROOT / "docs" / "clients.md").read_text()
POLICY = "version: 1\nname: adding\nimage: core\ntools: [{name: add, max_calls: 10}]\n"


def rows(heading):
    text = PAGE.split(heading, 1)[1].split("\n#", 1)[0]
    return [line for line in text.splitlines() if line.startswith("| `")]


@pytest.mark.image
@needs_image
def test_the_program_of_the_page_needs_the_description_alone_and_prints_what_the_page_says(
    tmp_path,
):
    protoc = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'proto'}"]
    out = [f"--python_out={tmp_path}", f"--grpc_python_out={tmp_path}"]
    subprocess.run([*protoc, *out, "codecage/v1/codecage.proto"], check=True)
    (tmp_path / "client.py").write_text(
        f"{blocks(PAGE, 'python')[0]}\nassert not {{'agent_client', 'executor'}} & {{*sys.modules}}\n"
        f"assert pb.__file__.startswith({str(tmp_path)!r})\n"
    )
    with private_directory() as directory, private_directory() as policies:
        policies.chmod(0o755)
        (policies / "adding.yaml").write_text(POLICY)
        with serving(directory, ["--policies", str(policies)], RUN_AS):
            ran = subprocess.run(
                [sys.executable, tmp_path / "client.py", f"unix:{directory}/sock"],
                env={"PYTHONPATH": str(tmp_path)},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
    shown = next(block for block in blocks(PAGE, "") if block.startswith("here\n"))
    assert ran.stdout == shown, ran.stderr


def test_every_tag_of_a_document_is_on_the_page_and_no_other():
    told = set()
    for row in rows("### Documents"):
        told |= set(re.findall(r"`(.)`", row.split("|")[1]))
    assert told == {chr(tag) for tag in {*values._READERS, *values._HOLDERS}}


def test_every_reason_of_the_server_is_on_the_page():
    text = PAGE.split("### Errors", 1)[1].split("\n###", 1)[0]
    told = {}
    for row in text.splitlines():
        if row.startswith("| `"):
            told |= dict.fromkeys(re.findall(r"`([A-Z_]+)`", row.split("|")[1]), row.split("|")[2])
    sources = "\n".join(path.read_text() for path in (ROOT / "executor").rglob("*.py"))
    # Words of the command line are no answers to a client.
    found = re.findall(r'Status\.(\w+),\s+"([A-Z_]+)"', sources)
    found = [one for one in found if one[1] != "CANNOT_START"]
    assert len(found) > 10
    for status, reason in found:
        assert status in told[reason], reason


def test_every_method_is_in_the_table_of_what_may_be_asked_again():
    told = set()
    for row in rows("### Asking again"):
        told |= set(re.findall(r"`(\w+)`", row.split("|")[1]))
    methods = pb.DESCRIPTOR.services_by_name["Codecage"].methods
    assert told == {method.name for method in methods}
    assert grpc.StatusCode.UNAVAILABLE.name in PAGE
