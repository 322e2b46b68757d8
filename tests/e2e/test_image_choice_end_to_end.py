"""
Two real images on one real server: asked for, denied, missing, and built too late.

The second is the first under another name, which has a key, a zygote and workers of its own.
"""

import asyncio
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import psutil
import pytest

import agent_client
from codecage.v1 import codecage_pb2 as pb
from executor.audit.read import records
from executor.audit.record import Answer, Event
from executor.audit.verify import verify
from executor.images.cache import Cache, default_cache
from executor.images.catalog import find
from tests.e2e.serving import (
    RUN_AS,
    environment,
    needs_image,
    private_directory,
    refusal,
    serving,
)
from tests.executor.fakes.harness import ended, metadata, reason

pytestmark = [pytest.mark.image, needs_image]
BUILDING = 300
BOTH = "image: [core, second]\n"


def codecage(*arguments: str, given: str = "", cache: Path | None = None):
    where = {"CODECAGE_CACHE": str(cache)} if cache else {}
    return subprocess.run(
        [sys.executable, "-m", "executor.cli", *arguments],
        input=given,
        env=environment() | where,
        capture_output=True,
        text=True,
        timeout=BUILDING,
        check=False,
    )


def copied(source: Cache, target: Path, *names: str) -> Path:
    target.mkdir(mode=0o700, exist_ok=True)
    for name in names:
        path = source.root / name
        if path.is_dir():
            shutil.copytree(path, target / name, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy2(path, target / name)
    return target


@pytest.fixture(scope="module")
def only_core(tmp_path_factory):
    core = find("core")
    image = str(core.path.relative_to(default_cache().root))
    target = tmp_path_factory.mktemp("caches") / "core"
    (target / "images").mkdir(mode=0o700, parents=True)
    target.chmod(0o700)
    return copied(default_cache(), target, image, "inputs", "index.json")


@pytest.fixture(scope="module")
def with_second(only_core):
    made = copied(Cache(only_core), only_core.parent / "both", "images", "inputs", "index.json")
    done = codecage("image", "build", "--name", "second", cache=made)
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture
def directory():
    with private_directory() as made:
        yield made


@pytest.fixture
def policies(directory):
    # Beside the server's own directory: policies are not for the guest's account to write.
    with private_directory() as made:
        made.chmod(0o755)
        yield made


def write(policies: Path, text: str, name: str = "test") -> list[str]:
    (policies / f"{name}.yaml").write_text(f"version: 1\nname: {name}\n{text}")
    return ["--policies", str(policies)]


def create(server, image: str = "", policy: str = "test"):
    return server.stub.CreateSession(pb.CreateSessionRequest(policy=policy, image=image))


def refused(server, image: str, policy: str = "test") -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        create(server, image, policy)
    return caught.value


def zygotes(server) -> list[str]:
    """
    The images of the zygotes that live, one for each.
    """
    found = []
    for launcher in psutil.Process(server.process.pid).children():
        for zygote in launcher.children():
            words = zygote.cmdline()
            # The one that was started before its row was known has `core`, the first row asked for.
            ahead = "--ahead" in words
            found.append("core" if ahead else words[words.index("--image") + 1])
    return sorted(found)


def test_sessions_of_two_images_run_side_by_side(directory, policies, with_second, monkeypatch):
    monkeypatch.setenv("CODECAGE_CACHE", str(with_second))
    with serving(directory, write(policies, BOTH)) as server:
        assert zygotes(server) == ["core"]
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda _: create(server, "second"), range(8)))
        made.append(create(server))
        assert [one.image for one in made] == ["second"] * 8 + ["core"]
        assert zygotes(server) == ["core", "second"]
        assert all(one.isolation.startswith("W2") for one in made)
        for number, one in enumerate(made):
            server.run(one.id, f"mine = {number}")
        for number, one in enumerate(made):
            (value,) = [e.value.text for e in server.run(one.id, "mine") if e.HasField("value")]
            assert value == str(number)
        assert server.stop() == 0
        found = records(server.audit, session=None, limit=1000)
        created = [dict(r.detail) for r in found if r.event is Event.SESSION_CREATE]
        keys = {detail["image"]: detail["image_key"] for detail in created}
        assert set(keys) == {"core", "second"}
        assert keys["core"] != keys["second"]
        assert verify(server.audit).whole


def test_an_image_that_is_there_is_denied_where_the_policy_has_it_not(
    directory, policies, with_second, monkeypatch
):
    monkeypatch.setenv("CODECAGE_CACHE", str(with_second))
    with serving(directory, write(policies, "image: core\n")) as server:
        error = refused(server, "second")
        assert (error.code(), reason(error)) == (
            grpc.StatusCode.PERMISSION_DENIED,
            "IMAGE_NOT_ALLOWED",
        )
        assert metadata(error)["allowed"] == "core"
        assert zygotes(server) == ["core"]
        assert server.stop() == 0
        found = records(server.audit, session=None, limit=1000)
        denied = [r for r in found if r.answer is Answer.DENY]
        assert [(r.request, r.rule_place) for r in denied] == [("image second", "test.yaml:3")]


def test_an_image_built_while_the_server_runs_is_there_after_a_restart(
    directory, policies, only_core, with_second, tmp_path, monkeypatch
):
    cache = copied(Cache(only_core), tmp_path / "cache", "images", "index.json")
    monkeypatch.setenv("CODECAGE_CACHE", str(cache))
    options = write(policies, BOTH)
    with serving(directory, options) as server:
        first = refused(server, "second")
        assert (first.code(), reason(first)) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "IMAGE_NOT_BUILT",
        )
        assert "then restart the server" in first.details()
        copied(Cache(with_second), cache, "images", "index.json")
        assert reason(refused(server, "second")) == "IMAGE_NOT_BUILT"
        assert create(server).image == "core"
        assert server.stop() == 0
    with serving(directory, options) as server:
        session = create(server, "second")
        assert session.image == "second"
        assert ended(server.run(session.id, "1")).status == pb.CELL_STATUS_OK


def test_without_a_policys_first_image_the_server_does_not_start(
    directory, policies, only_core, monkeypatch
):
    monkeypatch.setenv("CODECAGE_CACHE", str(only_core))
    said = refusal(directory, *RUN_AS, *write(policies, "image: [second, core]\n"))
    assert "the image second, which sessions under the policy test get unasked" in said
    assert "`codecage image build FILE` (the declaration of second)" in said


def test_without_another_it_starts_and_says_so(directory, policies, only_core, monkeypatch, capfd):
    monkeypatch.setenv("CODECAGE_CACHE", str(only_core))
    with serving(directory, write(policies, "image: [core, dta]\n")) as server:
        assert create(server).image == "core"
    said = capfd.readouterr().err
    assert "WARNING executor.server: policy test: the image dta is not built" in said
    assert "test.yaml:3:1: image: `dta` does not come with Codecage; did you mean `data`?" in said
    assert "INFO executor.server: policy calculator: the image data is not built" in said


@pytest.fixture
def damaged(with_second, tmp_path, monkeypatch):
    """
    Makes one image of a copy of the cache one that nobody can trust.
    """

    def damage(name: str) -> None:
        cache = copied(Cache(with_second), tmp_path / "cache", "images", "index.json")
        (manifest,) = (cache / "images").glob(f"{name}-*/manifest.json")
        manifest.chmod(0o600)
        manifest.write_bytes(manifest.read_bytes().replace(b'"', b"'", 1))
        manifest.chmod(0o444)
        monkeypatch.setenv("CODECAGE_CACHE", str(cache))

    return damage


def test_a_damaged_image_is_missing_and_the_others_are_served(directory, policies, damaged, capfd):
    damaged("second")
    with serving(directory, write(policies, BOTH)) as server:
        assert reason(refused(server, "second")) == "IMAGE_NOT_BUILT"
        assert create(server).image == "core"
    said = capfd.readouterr().err
    assert "ERROR executor.api.offers: the image second is left out: The manifest of" in said


def test_a_damaged_image_that_is_needed_keeps_the_server_from_starting(
    directory, policies, damaged
):
    damaged("core")
    said = refusal(directory, *RUN_AS, *write(policies, BOTH))
    assert "the image core is left out: The manifest of the image core has SHA-256" in said
    assert "build it with `codecage image build core`" in said


# The clients


@pytest.fixture
def private(policies, with_second, monkeypatch):
    monkeypatch.setenv("CODECAGE_CACHE", str(with_second))
    write(policies, BOTH)
    return policies


def test_a_private_server_lets_a_session_choose(private):
    with agent_client.connect(policies=private) as cage:
        offered = {image.name for image in cage.info().images}
        assert {name for name in offered if not name.startswith("native-")} == {"core", "second"}
        with cage.session("test", image="second") as session:
            assert (session.image, session.run("6 * 7").value) == ("second", "42")
        with cage.session("test") as session:
            assert session.image == "core"
        with pytest.raises(agent_client.Denied, match="this policy has core, second"):
            cage.session("test", image="math")
        with pytest.raises(agent_client.InvalidRequest, match="codecage image build data"):
            cage.session(image="data")


def test_so_it_does_from_asyncio(private):
    async def scenario():
        async with agent_client.connect_async(policies=private) as cage:
            opened = (cage.session("test", image=image) for image in ("second", "core", "second"))
            sessions = await asyncio.gather(*opened)
            assert [one.image for one in sessions] == ["second", "core", "second"]
            values = await asyncio.gather(*(one.run("6 * 7") for one in sessions))
            assert [one.value for one in values] == ["42"] * 3
            with pytest.raises(agent_client.Denied):
                await cage.session("test", image="math")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("image", "code", "said"),
    [("second", 0, ""), ("math", 3, "the image math is not granted: this policy has core, second")],
)
def test_so_it_does_from_the_command_line(private, image, code, said):
    options = ["--policies", str(private), "--policy", "test", "--image", image]
    done = codecage("run", "-", *options, given="print(6 * 7)")
    assert (done.returncode, done.stdout) == (code, "" if code else "42\n")
    assert said in done.stderr
    assert bool(said) == bool(done.stderr)
