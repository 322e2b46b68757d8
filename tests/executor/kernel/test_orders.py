"""
Orders and messages of native zygotes: what travels comes back the same, and nothing else comes in.
"""

import json
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.kernel.boxing import (
    BoxesHold,
    BoxExited,
    BoxRefused,
    BoxSignal,
    BoxSpawned,
    HeldItem,
    Holding,
    SealedBox,
    SignalBox,
    SpawnBox,
)
from executor.kernel.orders import ORDER_MAX, BoxOrder, ScratchTree, ShownTree

TEXT = st.text(max_size=40)
NUMBER = st.integers(0, 2**63)
ORDERS = st.builds(
    BoxOrder,
    shown=st.tuples(st.builds(ShownTree, TEXT, TEXT, NUMBER, NUMBER)),
    served=st.tuples(TEXT, TEXT),
    scratch=st.tuples(st.builds(ScratchTree, TEXT, NUMBER, NUMBER)),
    directory=TEXT,
    memory=NUMBER,
    minimum=TEXT,
    ports=st.tuples(NUMBER),
    names=st.booleans(),
    fork=st.booleans(),
    programs=st.tuples(TEXT),
)
HOLDING = Holding("P4", "all of it", (HeldItem("files", "enforced", "a namespace"),))


@given(ORDERS)
def test_an_order_comes_back_as_it_was_packed(order: BoxOrder) -> None:
    assert BoxOrder.unpack(order.pack()) == order
    sealed = SealedBox.unpack(memoryview(SpawnBox(7, order).pack()))
    assert (sealed.number, sealed.opened()) == (7, order)


NAMED = BoxOrder(
    shown=(ShownTree("/srv/tenant", "/data", 1, 2), ShownTree("/srv/tenant/b", "/data2", 1, 2)),
    served=("/served",),
    programs=("/opt/tenant/run",),
)


def test_without_names_an_order_keeps_its_numbers_alone() -> None:
    told = NAMED.without_names()
    assert not [name for name in ("tenant", "/data", "/work", "served/s") if name in str(told)]
    assert (len(told.served), len(told.scratch), bool(told.programs)) == (1, 1, True)
    for one, other in zip(told.scratch, NAMED.scratch, strict=True):
        assert (one.size, one.files) == (other.size, other.files)
    named = {"shown", "served", "scratch", "directory", "programs"}
    for name in {field.name for field in fields(BoxOrder)} - named:
        assert getattr(told, name) == getattr(NAMED, name)


def test_a_zygote_reads_no_name_and_a_box_only_what_was_told_of() -> None:
    data = SpawnBox(7, NAMED).pack()
    sealed = SealedBox.unpack(memoryview(data))
    assert (sealed.number, sealed.told) == (7, NAMED.without_names())
    assert sealed.opened() == NAMED
    other = SealedBox(7, sealed.told, memoryview(BoxOrder(fork=True).pack()))
    with pytest.raises(ValueError, match="not the one"):
        other.opened()


def test_a_sentence_passes_the_zygote_without_names_and_has_them_again_behind_it() -> None:
    said = "opening /srv/tenant/b for /data2, not /srv/tenant for /data: /opt/tenant/run"
    hidden = NAMED.hidden(said)
    assert "tenant" not in hidden
    assert NAMED.named(hidden) == said


def changed(**given: object) -> bytes:
    return json.dumps(json.loads(BoxOrder().pack()) | given).encode()


@pytest.mark.parametrize("name", [field.name for field in fields(BoxOrder)])
def test_a_field_of_another_kind_is_refused(name: str) -> None:
    for value in (None, 1.5, {"x": 1}, [None], -1):
        with pytest.raises(ValueError, match=r".+"):
            BoxOrder.unpack(changed(**{name: value}))


def test_a_truth_is_no_number_and_a_number_no_truth() -> None:
    for wrong in ({"memory": True}, {"fork": 1}, {"ports": [False]}):
        with pytest.raises(ValueError, match="True|False|1"):
            BoxOrder.unpack(changed(**wrong))


def test_a_field_more_or_less_is_refused() -> None:
    with pytest.raises(ValueError, match="and nothing else"):
        BoxOrder.unpack(changed(root=True))
    less = json.loads(BoxOrder().pack())
    del less["watched"]
    with pytest.raises(ValueError, match="and nothing else"):
        BoxOrder.unpack(json.dumps(less).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{", b"\xff", b" " * (ORDER_MAX + 1)])
def test_what_is_no_order_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        BoxOrder.unpack(data)


def test_an_order_that_no_datagram_holds_is_refused_when_it_is_packed() -> None:
    tree = ShownTree("/" + "x" * 4000, "/y", 1, 1)
    with pytest.raises(ValueError, match="grant fewer or shorter mounts"):
        BoxOrder(shown=(tree,) * 20).pack()


MESSAGES = [
    SignalBox(3, BoxSignal.KILL),
    BoxesHold(HOLDING),
    BoxSpawned(
        1,
        2,
        HOLDING,
        group=(("memory", Path("/sys/x")),),
        unified=True,
        listener=True,
        served=2,
        listeners=3,
        names=True,
    ),
    BoxRefused(4, missing=True, reason="no Landlock"),
    BoxExited(5, -9, 1, 2**40, 2**40),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_comes_back_and_another_is_none(message: object) -> None:
    kind = type(message)
    data = message.pack()  # type: ignore[attr-defined]
    assert kind.unpack(data) == message  # type: ignore[attr-defined]
    for other in (b"", data[:-1], b"xxxx" + data[4:], b"spn1\0\0\0\0"):
        with pytest.raises(ValueError, match=r".+"):
            kind.unpack(other)  # type: ignore[attr-defined]


def test_a_signal_that_no_box_is_sent_is_refused() -> None:
    data = SignalBox(1, BoxSignal.KILL).pack()
    with pytest.raises(ValueError, match="19"):
        SignalBox.unpack(data[:8] + (19).to_bytes(4, "little"))


def test_the_descriptors_of_a_box_are_counted() -> None:
    (spawned,) = [message for message in MESSAGES if isinstance(message, BoxSpawned)]
    assert spawned.descriptors == 1 + 1 + 2 + 3 + 1
    assert BoxSpawned(1, 2, HOLDING).descriptors == 1
