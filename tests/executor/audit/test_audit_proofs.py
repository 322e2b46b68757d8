"""
Proofs from a store: what they show, what they refuse, and that the stored tiles are checked.
"""

import asyncio
import json

import pytest
from audit_world import allow, append_all, filled, session_drafts, tamper

from executor.audit.chain import Fault
from executor.audit.errors import AuditDamaged
from executor.audit.merkle import proves_consistency, proves_inclusion
from executor.audit.read import records
from executor.audit.record import Head
from executor.audit.store import AuditStore
from executor.audit.verify import extends, prove, verify
from executor.cli import main

LENGTH = 700


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """
    A store over the border of two tiles, with the head after each record.
    """
    path = tmp_path_factory.mktemp("log") / "state" / "audit.sqlite3"
    with AuditStore.open(path) as store:
        heads = [store.head(), *append_all(store, session_drafts(LENGTH))]
    return path, heads


@pytest.mark.parametrize("sequence", [1, 2, 255, 256, 257, 511, 512, 699, 700])
def test_a_record_is_proved_under_any_head_that_is_not_older(log, sequence):
    path, heads = log
    leaf = records(path, after_sequence=sequence - 1, limit=1)[0].hash
    for head in {heads[sequence], heads[max(sequence, 513)], heads[-1]}:
        proof = prove(path, sequence, head)
        assert proof.leaf == leaf
        assert proves_inclusion(proof.path, leaf, sequence, head.sequence + 1, head.hash)


@pytest.mark.parametrize("sequence", [0, 1, 255, 256, 300, 511, 512, 700])
def test_the_record_extends_every_head_that_it_had(log, sequence):
    path, heads = log
    proof = extends(path, heads[sequence])
    assert proof.head == heads[-1]
    sizes = sequence + 1, LENGTH + 1
    assert proves_consistency(proof.path, sizes[0], heads[sequence].hash, sizes[1], heads[-1].hash)


@pytest.mark.parametrize("other", ["5", "'text'"])
def test_a_stored_hash_that_is_not_bytes_proves_nothing(path, other):
    filled(path, session_drafts(300))
    tamper(path, (f"UPDATE tile SET hash = {other}", ()))
    with pytest.raises(AuditDamaged):
        prove(path, 299)


def test_the_record_extends_no_head_of_another_store_and_none_that_it_never_had(log):
    path, heads = log
    with pytest.raises(AuditDamaged, match="cut or changed"):
        extends(path, Head(300, bytes(32)))
    with pytest.raises(AuditDamaged, match="cut or changed"):
        extends(path, Head(LENGTH + 1, heads[-1].hash))


@pytest.mark.parametrize("sequence", [-1, 0, LENGTH + 1])
def test_nothing_is_proved_of_a_record_that_is_not_there(log, sequence):
    with pytest.raises(LookupError, match="the store has 1 to 700"):
        prove(log[0], sequence)


def test_nothing_is_proved_under_a_head_that_is_not_the_stores(log):
    with pytest.raises(AuditDamaged, match="another store's"):
        prove(log[0], 5, Head(300, bytes(32)))


def copy_of(log, path):
    path.parent.mkdir(mode=0o700)
    path.write_bytes(log[0].read_bytes())
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("number", [0, 1])
def test_a_stored_tile_that_is_not_that_of_its_records_is_found(log, path, number):
    copy = copy_of(log, path)
    tamper(copy, ("UPDATE tile SET hash = zeroblob(32) WHERE number = ?", (number,)))
    finding = verify(copy).finding
    assert (finding.sequence, finding.fault) == (number * 256 + 255, Fault.TILE)
    with pytest.raises(AuditDamaged, match="do not lead from record"):
        prove(copy, 600)


def test_a_tile_too_many_is_found(log, path):
    copy = copy_of(log, path)
    tamper(copy, ("INSERT INTO tile VALUES (16, 0, zeroblob(32))", ()))
    assert verify(copy).finding.fault is Fault.TILE


def test_a_missing_tile_is_found_and_stops_what_needs_it(log, path):
    copy = copy_of(log, path)
    tamper(copy, ("DELETE FROM tile WHERE number = 0", ()))
    assert verify(copy).finding.sequence == 255
    with pytest.raises(AuditDamaged, match="hashes of level 8"):
        prove(copy, 600)


def test_a_store_over_many_tiles_goes_on_where_it_ended(path):
    filled(path, session_drafts(1500))
    with AuditStore.open(path) as store:
        before = store.head()
        after = append_all(store, session_drafts(300))[-1]
    assert verify(path, head=after).whole
    assert extends(path, before).head == after


def test_a_store_whose_old_records_were_changed_is_not_added_to(path):
    filled(path, session_drafts(1500))
    tamper(path, ("UPDATE tile SET hash = zeroblob(32) WHERE number = 0", ()))
    with pytest.raises(AuditDamaged, match="do not have the root"):
        AuditStore.open(path)


def test_records_of_one_commit_have_each_their_own_head(path):
    async def run(store):
        return await asyncio.gather(*(store.append(allow(f"read /{n}")) for n in range(50)))

    with AuditStore.open(path) as store:
        heads = asyncio.run(run(store))
    assert [record.head for record in records(path)] == heads
    assert all(verify(path, head=head).whole for head in heads[::7])


def test_the_command_proves_and_refuses(log, capsys):
    path, heads = log
    audit = ["--audit", str(path)]
    assert main(["audit", "prove", "300", *audit, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["sequence"], told["head"], told["tree_size"]) == (300, str(heads[-1]), LENGTH + 1)
    assert proves_inclusion(
        [bytes.fromhex(step) for step in told["path"]],
        bytes.fromhex(told["leaf"]),
        300,
        LENGTH + 1,
        heads[-1].hash,
    )
    assert main(["audit", "verify", "--since", str(heads[300]), *audit]) == 0
    assert "only grew since 300" in capsys.readouterr().out
    assert main(["audit", "verify", "--since", f"300:{'00' * 32}", *audit]) == 1
    assert "cut or changed" in capsys.readouterr().err
    assert main(["audit", "prove", "9999", *audit]) == 1
    assert "the store has 1 to 700" in capsys.readouterr().err
