"""The attack table: what somebody does to a log, and who finds it, by which rule.

A log of twelve entries was signed at eight and at twelve. The attacker owns the database, and more where it is said. Then
everybody looks: `verify_audit` on the live database, the signer, an auditor who has an export and the public key, and one
who has something from before besides: the checkpoint at eight, that at twelve, the receipt of entry 10.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from audit.actors import system
from audit.log import notes, tree
from audit.log.canonical import canonical_bytes
from audit.log.verify import Receipt
from audit.log.verify import verify as verify_bundle
from audit.models import AuditEntry, AuditHead, Checkpoint
from audit.services import record
from audit.signing.keys import known_keys, own_keys
from audit.verification import verify_org
from tests.audit.build import ORG, OTHER, TABLE, database_id, some, sql, without_triggers
from tests.audit.signing.build import LOG, cut, refit, rewrite, rules, signed

pytestmark = [pytest.mark.django_db, pytest.mark.every_case]


class Before(NamedTuple):
    """What is kept elsewhere from before the attack."""

    at_eight: notes.Checkpoint
    at_twelve: notes.Checkpoint
    receipt: Receipt
    folder: Path


# --- What the attacker does -------------------------------------------------------------------------------------------


def nothing(_: Before) -> None:
    pass


def edit(_: Before) -> None:
    """Another action, and nothing made to fit."""
    (row,) = AuditEntry.objects.filter(org_id=ORG, seq=5)
    data = canonical_bytes({**json.loads(bytes(row.entry)), "action": "test.forged"})
    sql(f"UPDATE {TABLE} SET entry = %s, action = 'test.forged' WHERE id = %s", data, row.pk)


def rewrite_all(_: Before) -> None:
    """Every link, hash and the head made to fit."""
    rewrite(ORG, 5, action="test.forged")


def rewrite_all_and_unsign(_: Before) -> None:
    rewrite(ORG, 5, action="test.forged")
    Checkpoint.objects.all().delete()


def sign_again() -> None:
    """What is there now is signed with the signer's key, as far as it was signed before."""
    head = AuditHead.objects.get(org_id=ORG)
    Checkpoint.objects.filter(log=LOG).delete()
    leaves = AuditEntry.objects.filter(org_id=ORG).order_by("seq").values_list("leaf_hash", flat=True)
    for size in sorted({min(8, head.size), head.size}):
        root = tree.root(tree.extend(0, [], [bytes(leaf) for leaf in leaves[:size]]))
        note = notes.sign(notes.Checkpoint(LOG, size, root).text(), own_keys())
        moment = "2026-01-01 00:00:00+00:00"
        Checkpoint.objects.create(log=LOG, size=size, note=note, signed_at=moment, checked_at=moment)


def rewrite_with_the_key(_: Before) -> None:
    """All hashes and all signatures: the key was stolen, the signer's memory was not reached."""
    rewrite(ORG, 5, action="test.forged")
    sign_again()


def rewrite_with_the_machine(before: Before) -> None:
    """The key and the memory: the machine of the signer belongs to the attacker."""
    rewrite_with_the_key(before)
    (before.folder / "state.sqlite3").unlink()


def drop(_: Before) -> None:
    sql(f"DELETE FROM {TABLE} WHERE org_id = %s AND seq = 5", database_id(ORG))


def swap(_: Before) -> None:
    for was, now in ((5, 100), (6, 5), (100, 6)):
        sql(f"UPDATE {TABLE} SET seq = %s WHERE org_id = %s AND seq = %s", now, database_id(ORG), was)


def copied(seq: int, to: int, org: UUID = ORG) -> None:
    """An entry once more, as the entry with another number."""
    columns = [field.column for field in AuditEntry._meta.concrete_fields if not field.primary_key]
    chosen = [
        {"seq": str(to), "log": f"'{LOG}'", "org_id": f"'{database_id(ORG)}'"}.get(name, name) for name in columns
    ]
    sql(
        f"INSERT INTO {TABLE} ({', '.join(columns)}) SELECT {', '.join(chosen)} FROM {TABLE}"
        " WHERE org_id = %s AND seq = %s",
        database_id(org), seq,
    )  # fmt: skip


def make_room(at: int) -> None:
    for seq in range(11, at - 1, -1):
        sql(f"UPDATE {TABLE} SET seq = %s WHERE org_id = %s AND seq = %s", seq + 1, database_id(ORG), seq)


def repeat(_: Before) -> None:
    make_room(6)
    copied(5, 6)


def insert(_: Before) -> None:
    make_room(6)
    copied(12, 6)


def take_from_another_org(_: Before) -> None:
    some(12, OTHER)
    sql(f"DELETE FROM {TABLE} WHERE org_id = %s AND seq = 5", database_id(ORG))
    copied(5, 5, OTHER)


def cut_the_end(_: Before) -> None:
    cut(ORG, 10)


def cut_the_end_and_its_note(_: Before) -> None:
    cut(ORG, 10)
    Checkpoint.objects.filter(log=LOG, size__gt=10).delete()


def cut_the_end_with_the_key(_: Before) -> None:
    cut(ORG, 10)
    sign_again()


def delete_the_log(_: Before) -> None:
    for table in (TABLE, "audit_audithead"):
        sql(f"DELETE FROM {table} WHERE org_id = %s", database_id(ORG))
    Checkpoint.objects.filter(log=LOG).delete()


def bring_back_a_backup(before: Before) -> None:
    """Everything as it was when the log had ten entries. No attack: but it looks like one, until an operator says so."""
    cut_the_end_and_its_note(before)


def edit_a_payload(_: Before) -> None:
    sql(f"UPDATE {TABLE} SET payload = %s WHERE org_id = %s AND seq = 5", b'{"n":7}', database_id(ORG))


def blank_in_silence(_: Before) -> None:
    sql(f"UPDATE {TABLE} SET payload = NULL, salt = NULL WHERE org_id = %s AND seq = 5", database_id(ORG))


def edit_what_is_searched(_: Before) -> None:
    """The columns beside the bytes: who looks for an entry in the admin finds another one."""
    sql(f"UPDATE {TABLE} SET actor_id = 'somebody else' WHERE org_id = %s AND seq = 5", database_id(ORG))


def flip_a_bit_of_a_hash(_: Before) -> None:
    (row,) = AuditEntry.objects.filter(org_id=ORG, seq=5)
    leaf = bytearray(row.leaf_hash)
    leaf[0] ^= 1
    sql(f"UPDATE {TABLE} SET leaf_hash = %s WHERE id = %s", bytes(leaf), row.pk)


def change_the_head(_: Before) -> None:
    sql("UPDATE audit_audithead SET right_edge = last_leaf_hash WHERE org_id = %s", database_id(ORG))


def date_back(_: Before) -> None:
    """A new entry with a time before that of the last one, all hashes made to fit."""
    some(1)
    rewrite(ORG, 12, ts="2026-01-01T00:00:00.000000Z")


def write_otherwise(_: Before) -> None:
    """The same JSON with a space."""
    (row,) = AuditEntry.objects.filter(org_id=ORG, seq=5)
    data = bytes(row.entry).replace(b",", b", ", 1)
    leaf = tree.leaf_hash(data)
    sql(f"UPDATE {TABLE} SET entry = %s, leaf_hash = %s WHERE id = %s", data, leaf, row.pk)
    refit(ORG)


def sign_with_another_key(_: Before) -> None:
    """A checkpoint of a forged history, by a key of the attacker's with our name."""
    rewrite(ORG, 5, action="test.forged")
    key = notes.SigningKey.make(own_keys()[0].verify_key.name)
    root = tree.root(tree.unpack(bytes(AuditHead.objects.get(org_id=ORG).right_edge)))
    Checkpoint.objects.filter(log=LOG).delete()
    note = notes.sign(notes.Checkpoint(LOG, 12, root).text(), [key])
    moment = "2026-01-01 00:00:00+00:00"
    Checkpoint.objects.create(log=LOG, size=12, note=note, signed_at=moment, checked_at=moment)


def break_a_signature(_: Before) -> None:
    """A known key's name and id, over another root."""
    row = Checkpoint.objects.get(log=LOG, size=12)
    other = Checkpoint.objects.get(log=LOG, size=8).note.split("\n")
    lines = row.note.split("\n")
    Checkpoint.objects.filter(pk=row.pk).update(note="\n".join([*lines[:2], other[2], *lines[3:]]))


def write_as_the_application(_: Before) -> None:
    """A false entry by the front door."""
    with transaction.atomic():
        record(ORG, by=system("whom it is not"), action="route.created", target=("route", "r"))
    signed()


#: Who finds what, by which rule; `-` who does not. `no_checkpoint`: there is none by a known key, so it is not "verified".
#: `ends_before`: it ends before the entry of the receipt, as an older export would.
#: A checkpoint that is not the signer's any more is made again by it.
FOUND = """
attack                   verify_audit    signer         auditor         at_eight        at_twelve       receipt
nothing                  -               -              -               -               -               -
edit                     wrong_leaf_hash -              wrong_prev      wrong_prev      wrong_prev      wrong_prev
write_otherwise          bad_canonical   wrong_head     bad_canonical   bad_canonical   bad_canonical   bad_canonical
drop                     wrong_seq       -              wrong_seq       wrong_seq       wrong_seq       wrong_seq
swap                     wrong_seq       -              wrong_seq       wrong_seq       wrong_seq       wrong_seq
repeat                   wrong_seq       -              wrong_seq       wrong_seq       wrong_seq       wrong_seq
insert                   wrong_seq       -              wrong_seq       wrong_seq       wrong_seq       wrong_seq
take_from_another_org    wrong_log       -              wrong_log       wrong_log       wrong_log       wrong_log
edit_a_payload           wrong_payload   -              wrong_payload   wrong_payload   wrong_payload   wrong_payload
blank_in_silence         missing_payload -              missing_payload missing_payload missing_payload missing_payload
cut_the_end              cut             cut            cut             cut             cut             cut
break_a_signature        wrong_root      -              -               -               -               -
rewrite_all              wrong_root      wrong_head     wrong_root      rewritten       wrong_root      wrong_root
# Here the database was made to fit.
cut_the_end_and_its_note -               cut            -               -               cut             ends_before
bring_back_a_backup      -               cut            -               -               cut             ends_before
delete_the_log           -               no_head        no_log          no_log          no_log          no_log
rewrite_all_and_unsign   -               wrong_head     no_checkpoint   rewritten       rewritten       other_receipt
sign_with_another_key    -               wrong_head     no_checkpoint   rewritten       rewritten       other_receipt
# Here the key was stolen as well, and at last all that the signer has: then only what is kept elsewhere tells.
cut_the_end_with_the_key -               cut            -               -               cut             ends_before
rewrite_with_the_key     -               wrong_head     -               rewritten       rewritten       other_receipt
rewrite_with_the_machine -               -              -               rewritten       rewritten       other_receipt
# This is not in what is signed and exported, or not yet.
date_back                time_went_back  time_went_back -               -               -               -
edit_what_is_searched    wrong_column    -              -               -               -               -
flip_a_bit_of_a_hash     wrong_leaf_hash -              -               -               -               -
change_the_head          wrong_head      wrong_head     -               -               -               -
# And this no mathematics finds: what the application says it did is what is signed.
write_as_the_application -               -              -               -               -               -
"""


def attacks() -> Iterator[Any]:
    """(what is done, what each finds) of every line."""
    for line in FOUND.strip().splitlines()[1:]:
        if not line.startswith("#"):
            name, *found = line.split()
            yield pytest.param(globals()[name], found, id=name)


# --- Who looks --------------------------------------------------------------------------------------------------------


@pytest.fixture
def before(settings: Any, tmp_path: Path) -> Before:
    settings.AUDIT_SIGNER_DIR = str(tmp_path / "signer")
    some(8)
    signed()
    some(2)
    with transaction.atomic():
        receipt = record(ORG, by=system("test"), action="test.happened", target=("thing", "10"))
    some(1)
    signed()
    at_eight, at_twelve = (
        notes.open_checkpoint(Checkpoint.objects.get(log=LOG, size=size).note, known_keys()) for size in (8, 12)
    )
    kept = Receipt(receipt.log, receipt.seq, receipt.leaf_hash)
    return Before(at_eight, at_twelve, kept, tmp_path / "signer")


def looked(before: Before, folder: Path) -> list[str]:
    """What everybody finds. The auditors have the key since before."""
    live = verify_org(ORG)
    found = [live.rule or "-", rules().get(LOG, "-")]
    try:
        call_command("audit_export", folder / "bundle", org=ORG)
    except CommandError:
        return [*found, *["no_log"] * 4]
    keys = [key.verify_key for key in own_keys()]
    kept: list[dict[str, Any]] = [
        {},
        {"since": before.at_eight},
        {"since": before.at_twelve},
        {"receipt": before.receipt},
    ]
    for more in kept:
        one = verify_bundle(folder / "bundle", keys, **more)
        unsure = "ends_before" if "ends before" in one.message else "no_checkpoint"
        found.append({"verified": "-", "tampered": one.rule, "cannot_verify": unsure}[one.verdict])
    return found


@pytest.mark.parametrize(("attack", "found"), list(attacks()))
def test_what_is_done_to_a_log_is_found(
    attack: Callable[[Before], None], found: list[str], before: Before, tmp_path: Path
) -> None:
    with without_triggers():
        attack(before)
    assert looked(before, tmp_path) == found
