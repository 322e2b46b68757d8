"""
A session's image: asked for, allowed or denied, started when it is first wanted.
"""

import asyncio
from pathlib import Path

import grpc
import pytest

from codecage.v1 import codecage_pb2 as pb
from executor import images
from executor.audit.record import Answer, Event, Origin
from executor.audit.verify import verify
from executor.children.zygotes import ImageRow, Zygotes
from executor.choice import build_command
from executor.errors import CageUnavailable
from executor.holding import is_boxed
from executor.process import images as native
from policy.doubts import SHIPPED_IMAGES
from tests.executor.fakes.harness import KEY, key_of, launched_images, metadata, policy, reason
from tests.executor.fakes.served import refused, serving
from tests.executor.test_zygotes import settled

# The options reach the workers, which can say from whose zygote they come.
TWO = {"core": (), "second": ("--second",)}
POLICY = "image: [core, second, absent]\n"
WHO = "'--second' in __import__('sys').argv"


def ask(server, image: str, **labels: str):
    request = pb.CreateSessionRequest(policy="test", image=image, labels=labels)
    return server.stub.CreateSession(request)


async def value(server, session: str) -> str:
    (found,) = [e.value.text for e in await server.run(session, WHO) if e.HasField("value")]
    return found


def with_two(tmp_path, scenario, text=POLICY, images=None, **options):
    serving(tmp_path, scenario, [policy(text)], images=images or TWO, **options)


# Allowed


@pytest.mark.parametrize(
    ("asked", "image", "second"),
    [("", "core", "False"), ("core", "core", "False"), ("second", "second", "True")],
)
def test_a_session_gets_the_image_that_it_asks_for_or_the_first(tmp_path, asked, image, second):
    async def scenario(server):
        made = await ask(server, asked)
        assert (made.image, await value(server, made.id)) == (image, second)
        found = await server.stub.GetSession(pb.GetSessionRequest(session_id=made.id))
        assert found.image == image

    with_two(tmp_path, scenario)


@pytest.mark.parametrize("image", TWO)
def test_the_record_of_the_creation_holds_the_image_and_its_key(tmp_path, image):
    async def scenario(server):
        made = await ask(server, image)
        (created,) = [r for r in server.records(made.id) if r.event is Event.SESSION_CREATE]
        detail = dict(created.detail)
        assert (detail["image"], detail["image_key"]) == (image, key_of(image))

    with_two(tmp_path, scenario)


def test_a_policys_images_are_told_to_who_lists_policies(tmp_path):
    async def scenario(server):
        answer = await server.stub.ListPolicies(pb.ListPoliciesRequest())
        (found,) = [one for one in answer.policies if one.name == "test"]
        assert (found.image, list(found.images)) == ("core", ["core", "second", "absent"])

    with_two(tmp_path, scenario)


# Denied


def test_an_image_that_the_policy_does_not_have_is_denied_and_the_denial_recorded(tmp_path):
    async def scenario(server):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(server, "second", run="7")
        error = caught.value
        assert (error.code(), reason(error)) == (
            grpc.StatusCode.PERMISSION_DENIED,
            "IMAGE_NOT_ALLOWED",
        )
        assert metadata(error) == {"policy": "test", "image": "second", "allowed": "core third"}
        assert error.details() == (
            "the image second is not granted: this policy has core, third; "
            "ask for one of those, or for none to have the first"
        )
        (record,) = server.records()[-1:]
        assert (record.event, record.origin, record.session) == (
            Event.DECISION,
            Origin.SERVER,
            None,
        )
        assert (record.request, record.answer, record.rule, record.rule_place) == (
            "image second",
            Answer.DENY,
            "image",
            "test.yaml:4",
        )
        assert record.policy_digest == server.sessions.policies["test"].digest
        assert dict(record.detail) == {
            "labels": '{"run": "7"}',
            "policy": "test",
            "reason": "the image second is not granted: this policy has core, third",
        }
        assert verify(server.audit).whole

    with_two(tmp_path, scenario, "image: [core, third]\n")


def test_a_name_that_is_longer_than_any_is_refused_before_it_is_recorded(tmp_path):
    async def scenario(server):
        before = len(server.records())
        invalid = (grpc.StatusCode.INVALID_ARGUMENT, "IMAGE_NAME_TOO_LONG")
        assert await refused(ask(server, "x" * 65)) == invalid
        assert len(server.records()) == before

    with_two(tmp_path, scenario, "image: core\n")


def test_a_denied_image_makes_no_session_and_starts_nothing(tmp_path):
    async def scenario(server):
        before = len(server.records())
        for _ in range(3):
            denied = (grpc.StatusCode.PERMISSION_DENIED, "IMAGE_NOT_ALLOWED")
            assert await refused(ask(server, "second")) == denied
        assert (server.sessions.list(), server.zygotes._started) == ([], 0)
        assert len(server.records()) == before + 3
        # None of them counted as one of the policy's sessions.
        assert (await ask(server, "core")).image == "core"

    with_two(tmp_path, scenario, "image: core\nlimits: {sessions: 1}\n")


@pytest.mark.parametrize("asked", ["Core", "core ", "core,second", "../core", "a\nb", "x" * 64])
def test_a_name_that_is_nearly_an_image_is_denied(tmp_path, asked):
    async def scenario(server):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(server, asked)
        assert reason(caught.value) == "IMAGE_NOT_ALLOWED"
        assert caught.value.details().isprintable()
        assert len(metadata(caught.value)["image"]) < 70
        assert verify(server.audit).whole

    with_two(tmp_path, scenario)


def test_a_denial_that_cannot_be_recorded_is_refused_as_such(tmp_path):
    async def scenario(server):
        server.store.close()
        wanted = (grpc.StatusCode.UNAVAILABLE, "AUDIT_UNAVAILABLE")
        assert await refused(ask(server, "other")) == wanted

    with_two(tmp_path, scenario)


# Not built


def test_an_image_that_is_not_built_says_what_to_type_and_the_others_work(tmp_path):
    async def scenario(server):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(server, "data")
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert reason(caught.value) == "IMAGE_NOT_BUILT"
        assert metadata(caught.value) == {"image": "data"}
        assert "`codecage image build data`, then restart the server" in caught.value.details()
        assert server.sessions.list() == []
        assert (await ask(server, "core")).image == "core"

    with_two(tmp_path, scenario, "image: [core, data]\nlimits: {sessions: 1}\n")


def test_the_shipped_names_are_those_of_the_shipped_declarations():
    declared = {path.stem for path in (Path(images.__file__).parent / "shipped").glob("*.yaml")}
    assert declared | set(native.names()) == set(SHIPPED_IMAGES)
    assert {name for name in SHIPPED_IMAGES if is_boxed(name)} == set(native.names())


def test_the_command_names_a_shipped_image_and_asks_for_the_declaration_of_another():
    shipped = {build_command(image) for image in SHIPPED_IMAGES}
    assert shipped == {f"`codecage image build {image}`" for image in SHIPPED_IMAGES}
    assert build_command("ours") == "`codecage image build FILE` (the declaration of ours)"


# Too large

MEMORY = 96 * 2**20


def with_memory(tmp_path, held: int, scenario):
    text = "image: [core, second]\nlimits: {memory: 96Mi, sessions: 1}\n"
    images = {"core": (), "second": ("--memory", str(held))}
    with_two(tmp_path, scenario, text, images)


@pytest.mark.parametrize("held", [MEMORY - 2**20 + 1, MEMORY, 190 * 2**20])
def test_an_image_that_holds_more_than_the_policy_allows_says_both_sizes(tmp_path, held):
    async def scenario(server):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(server, "second")
        error = caught.value
        assert (error.code(), reason(error)) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "IMAGE_TOO_LARGE",
        )
        assert error.details().startswith(
            f"the image second holds {held / 2**20:.1f} MiB before the first cell; "
            "limits.memory is 96.0 MiB; ask for another image, or have the limit raised to "
        )
        assert metadata(error) == {
            "policy": "test",
            "image": "second",
            "held": str(held),
            "allowed": str(MEMORY),
        }
        assert server.sessions.list() == []
        assert (await ask(server, "core")).image == "core"

    with_memory(tmp_path, held, scenario)


def test_an_image_that_leaves_room_to_begin_has_a_session(tmp_path):
    async def scenario(server):
        assert (await ask(server, "second")).image == "second"

    with_memory(tmp_path, MEMORY - 2**20, scenario)


# Started when it is wanted


def test_an_image_starts_once_for_all_who_ask_at_once_and_not_before(tmp_path):
    async def scenario(server):
        assert await value(server, (await ask(server, "core")).id) == "False"
        assert server.zygotes._started == 1
        made = await asyncio.gather(*(ask(server, "second") for _ in range(8)))
        assert {one.image for one in made} == {"second"}
        assert server.zygotes._started == 2

    with_two(tmp_path, scenario)


def test_a_failed_image_is_told_to_all_who_wait_and_the_other_goes_on(tmp_path):
    async def scenario(server):
        answers = await asyncio.gather(
            *(ask(server, "second") for _ in range(8)), return_exceptions=True
        )
        assert {(a.code(), reason(a)) for a in answers} == {
            (grpc.StatusCode.UNAVAILABLE, "CAGE_UNAVAILABLE")
        }
        assert server.zygotes._started == 1
        assert server.sessions.list() == []
        assert await value(server, (await ask(server, "core")).id) == "False"

    with_two(tmp_path, scenario, images={"core": (), "second": ("--broken",)})


def with_zygotes(scenario, **options):
    async def main():
        with launched_images(TWO) as started:
            rows = [ImageRow(name, KEY) for name in TWO]
            zygotes = Zygotes(started, rows, **options)
            try:
                await scenario(zygotes)
            finally:
                await zygotes.close()

    asyncio.run(main())


def waiting(zygotes) -> list[int]:
    return [image.count() for image in zygotes._images]


def test_the_pool_of_an_image_fills_after_the_first_who_asked_for_it():
    async def scenario(zygotes):
        await zygotes.start("core")
        await settled(zygotes)
        assert waiting(zygotes) == [2, 0]
        taken = await zygotes.take("second")
        await settled(zygotes)
        assert waiting(zygotes) == [2, 2]
        taken.drop()

    with_zygotes(scenario, pool=2)


def test_who_gives_up_waiting_leaves_the_image_to_the_others():
    async def scenario(zygotes):
        first = asyncio.ensure_future(zygotes.take("second"))
        second = asyncio.ensure_future(zygotes.take("second"))
        await asyncio.sleep(0)
        first.cancel()
        worker = await second
        assert (first.cancelled(), worker.alive, zygotes._started) == (True, True, 1)
        worker.drop()

    with_zygotes(scenario)


def test_a_closing_server_starts_no_image():
    async def scenario(zygotes):
        await zygotes.close()
        with pytest.raises(CageUnavailable):
            await zygotes.take("second")
        assert zygotes._started == 0

    with_zygotes(scenario)
