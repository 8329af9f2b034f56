"""Bundles as they are exported, and what forgers make of them."""

import json
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any, Self

from audit.log.bundle import CHECKPOINTS, ENTRIES, MANIFEST, PAYLOADS, checkpoint_line, manifest, payload_line
from audit.log.canonical import canonical_bytes
from audit.log.check import EPOCH_OPENED, REDACTED
from audit.log.entry import payload_hash
from audit.log.notes import Checkpoint, SigningKey, sign
from audit.log.tree import append, leaf_hash, root
from audit.log.verify import Receipt
from tests.audit.log.build import LOG, TEXTS, chain

KEY = SigningKey("routing.example/audit", b"k" * 32)
THIEF = SigningKey("routing.example/audit", b"t" * 32)


@dataclass
class Made:
    """One log of a bundle: entries, payloads with salts (None twice where blanked), and the sizes that are signed."""

    entries: list[bytes]
    payloads: list[tuple[bytes | None, bytes | None]]
    marks: list[int]
    log: str = LOG
    key: SigningKey = KEY
    #: Signed notes, where they are not to be made of the entries and the marks.
    notes: list[str] | None = None

    @classmethod
    def honest(cls, random: Random, size: int, log: str = LOG) -> Self:
        lines = list(chain(random, size, log))
        marks = sorted({size, *(random.randint(1, size) for _ in range(random.randrange(4)))})
        return cls([line.data for line in lines], [(line.payload, line.salt) for line in lines], marks, log)

    def states(self) -> Iterator[Checkpoint]:
        """What the log is after each number of entries, from 0."""
        edge: list[bytes] = []
        yield Checkpoint(self.log, 0, root(edge))
        for size, data in enumerate(self.entries):
            edge = append(size, edge, leaf_hash(data))
            yield Checkpoint(self.log, size + 1, root(edge))

    def state(self, size: int) -> Checkpoint:
        return next(state for state in self.states() if state.size == size)

    def signed(self) -> list[str]:
        """The notes of the marks."""
        if self.notes is not None:
            return self.notes
        wanted = set(self.marks)
        return [sign(state.text(), [self.key]) for state in self.states() if state.size in wanted]

    def receipt(self, seq: int) -> Receipt:
        return Receipt(self.log, seq, leaf_hash(self.entries[seq]).hex())

    def copy(self) -> "Made":
        return replace(self, entries=[*self.entries], payloads=[*self.payloads], marks=[*self.marks])

    def relinked(self) -> "Made":
        """Numbers, links and payload hashes made to fit, as a forger with a computer does."""
        made, prev = self.copy(), None
        for seq, (data, (payload, salt)) in enumerate(zip(made.entries, made.payloads, strict=True)):
            raw = {**json.loads(data), "seq": seq, "prev": prev, "log": self.log}
            if payload is not None and salt is not None:
                raw["payload_sha256"] = payload_hash(salt, payload)
            made.entries[seq] = canonical_bytes(raw)
            prev = leaf_hash(made.entries[seq]).hex()
        ts = ""
        for seq, data in enumerate(made.entries):
            ts = max(ts, json.loads(data)["ts"])
            if json.loads(data)["ts"] != ts:
                made.entries[seq] = canonical_bytes({**json.loads(data), "ts": ts})
                return made.relinked()
        return made


def edited(data: bytes, **changes: Any) -> bytes:
    return canonical_bytes({**json.loads(data), **changes})


def told(made: Made, action: str, target: tuple[str, str], payload: dict[str, Any]) -> None:
    """One more entry, linked to the last."""
    kept, salt = canonical_bytes(payload), b"s" * 16
    like = json.loads(made.entries[-1]) if made.entries else json.loads(next(chain(Random(1), 1)).data)
    more = {
        "seq": len(made.entries), "prev": leaf_hash(made.entries[-1]).hex() if made.entries else None, "log": made.log,
        "action": action, "target": {"type": target[0], "id": target[1]}, "payload_sha256": payload_hash(salt, kept),
    }  # fmt: skip
    made.entries.append(canonical_bytes({**like, **more}))
    made.payloads.append((kept, salt))


def redacted(made: Made, seq: int) -> None:
    """The payload of an entry is blanked, and an entry tells so."""
    made.payloads[seq] = (None, None)
    told(made, REDACTED, ("entry", str(seq)), {"reason": "held a name"})
    made.marks.append(len(made.entries))


def reopened(lost_from: Made, kept: int, *, lost: Sequence[Checkpoint] = ()) -> list[Made]:
    """The logs after a restore that brought back so many entries: the old one, and a new one that tells of it, and of
    those between that are lost whole."""
    old, was = lost_from.copy(), lost_from.state(len(lost_from.entries))
    del old.entries[kept:], old.payloads[kept:]
    old.notes = lost_from.signed()
    now, new = old.state(kept), Made([], [], [1, 2], f"{old.log}/e{2 + len(lost)}")
    previous = {
        "log": old.log, "size": kept, "root": now.root.hex(), "signed_size": was.size, "signed_root": was.root.hex(),
        "kept": kept, "lost": [{"log": one.origin, "size": one.size, "root": one.root.hex()} for one in lost],
    }  # fmt: skip
    told(new, EPOCH_OPENED, ("log", new.log), {"reason": "the disk failed", "previous": previous})
    told(new, "route.created", ("route", "r"), {})
    return [old, new]


def written(folder: Path, *logs: Made) -> Path:
    """The bundle of these logs, as a folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / MANIFEST).write_bytes(manifest([made.log for made in logs]))
    for number, made in enumerate(logs, 1):
        one = folder / str(number)
        one.mkdir()
        (one / ENTRIES).write_bytes(b"".join(data + b"\n" for data in made.entries))
        (one / PAYLOADS).write_bytes(b"".join(payload_line(*kept) for kept in made.payloads))
        notes = (checkpoint_line(note, "2026-01-01T00:00:00.000000Z") for note in made.signed())
        (one / CHECKPOINTS).write_bytes(b"".join(notes))
    return folder


def zipped(folder: Path) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for one in sorted(folder.rglob("*")):
            if one.is_file():
                file.write(one, one.relative_to(folder).as_posix())
    return path


# --- What forgers do --------------------------------------------------------------------------------------------------


@dataclass
class Forged:
    """A forgery, and what an auditor has beside the bundle, who got both from the honest log."""

    made: Made
    since: Checkpoint | None = None
    receipt: Receipt | None = None
    rules: frozenset[str] = frozenset()
    first: int | None = None
    #: The logs after it.
    more: tuple[Made, ...] = ()
    #: Anything that is done to the written files.
    then: Callable[[Path], None] = field(default=lambda _: None)


def _at(random: Random, made: Made) -> int:
    return random.randrange(len(made.entries))


#: By the path of a field, another value for it.
FIELDS: dict[str, Callable[[Any], Any]] = {
    "v": lambda was: was + 1,
    "log": lambda was: was + "x",
    "seq": lambda was: was + 1,
    "ts": lambda was: was[:3] + str((int(was[3]) + 1) % 10) + was[4:],
    "actor": lambda was: {**was, "id": was["id"] + "x"},
    "actor.type": lambda was: {**was, "type": "system" if was["type"] != "system" else "user"},
    "actor.on_behalf_of": lambda was: {**was, "on_behalf_of": "x" if was["on_behalf_of"] is None else None},
    "action": lambda was: was + "x",
    "target": lambda was: {**was, "id": was["id"] + "x"},
    "target.type": lambda was: {**was, "type": was["type"] + "x"},
    "request_id": lambda was: "x" if was is None else None,
    "version_before": lambda was: 1 if was is None else None,
    "version_after": lambda was: 7 if was is None else was + 1,
    "payload_sha256": lambda was: was[::-1] if was != was[::-1] else "0" * 64,
    "prev": lambda was: "0" * 64 if was is None else was[::-1],
}


def edit(random: Random, honest: Made) -> Forged:
    """One field of one entry."""
    return edit_field(honest, _at(random, honest), random.choice(sorted(FIELDS)))


def edit_field(honest: Made, at: int, name: str) -> Forged:
    made = honest.copy()
    made.notes = honest.signed()
    made.entries[at] = with_other(made.entries[at], name)
    return Forged(made, first=at)


def with_other(data: bytes, name: str) -> bytes:
    """The entry with another value in this field."""
    key = name.partition(".")[0]
    return edited(data, **{key: FIELDS[name](json.loads(data)[key])})


def edit_and_relink(random: Random, honest: Made) -> Forged:
    forged = edit_field(honest, _at(random, honest), random.choice(["action", "actor", "target", "request_id"]))
    notes = forged.made.notes
    return Forged(replace(forged.made.relinked(), notes=notes), rules=frozenset({"wrong_root"}))


def drop(random: Random, honest: Made) -> Forged:
    made, at = honest.copy(), _at(random, honest)
    made.notes = honest.signed()
    del made.entries[at], made.payloads[at]
    return Forged(made, first=at)


def swap(random: Random, honest: Made) -> Forged:
    made = honest.copy()
    made.notes = honest.signed()
    if len(made.entries) < 2:
        return drop(random, honest)
    at = random.randrange(len(made.entries) - 1)
    for rows in (made.entries, made.payloads):
        rows[at], rows[at + 1] = rows[at + 1], rows[at]
    return Forged(made, first=at)


def repeat(random: Random, honest: Made) -> Forged:
    made, at = honest.copy(), _at(random, honest)
    made.notes = honest.signed()
    made.entries.insert(at, made.entries[at])
    made.payloads.insert(at, made.payloads[at])
    return Forged(made, rules=frozenset({"wrong_seq"}), first=at + 1)


def insert(random: Random, honest: Made) -> Forged:
    """An entry of another organisation's log, as it is."""
    made, at, other = honest.copy(), _at(random, honest), next(chain(random, 1, LOG + "0"))
    made.notes = honest.signed()
    made.entries.insert(at, other.data)
    made.payloads.insert(at, (other.payload, other.salt))
    return Forged(made, rules=frozenset({"wrong_log"}), first=at)


def relinked(change: Callable[[Random, Made], Forged]) -> Callable[[Random, Made], Forged]:
    """The same, with everything made to fit but what is signed."""

    def forge(random: Random, honest: Made) -> Forged:
        forged = change(random, honest)
        return Forged(replace(forged.made.relinked(), notes=forged.made.notes))

    return forge


def add(random: Random, honest: Made) -> Forged:
    """An entry at the end, which nobody signed."""
    made = honest.copy()
    made.notes = honest.signed()
    told(made, random.choice(TEXTS), ("route", "x"), {"n": 1})
    return Forged(made)


def cut(random: Random, honest: Made) -> Forged:
    made, at = honest.copy(), _at(random, honest)
    made.notes = honest.signed()
    del made.entries[at:], made.payloads[at:]
    return Forged(made, rules=frozenset({"cut"}), first=at)


def cut_with_checkpoints(random: Random, honest: Made) -> Forged:
    """Only who has an older checkpoint, or a receipt, knows."""
    made, at = honest.copy(), _at(random, honest)
    made.marks = [mark for mark in made.marks if mark < at] + ([at] if at else [])
    receipt = honest.receipt(at) if random.random() < 0.5 else None
    del made.entries[at:], made.payloads[at:]
    since = None if receipt else honest.state(len(honest.entries))
    # An older export ends before a receipt too.
    return Forged(made, since, receipt, frozenset({"" if receipt else "cut"}), at)


def rewrite_with_stolen_key(random: Random, honest: Made) -> Forged:
    """Signed anew by the right key: who has an older checkpoint, or a receipt of what was changed, knows."""
    at = _at(random, honest)
    made = replace(edit_field(honest, at, "action").made.relinked(), notes=None)
    receipt = honest.receipt(at) if random.random() < 0.5 else None
    since = None if receipt else honest.state(random.randint(at + 1, len(honest.entries)))
    return Forged(made, since, receipt, frozenset({"other_receipt"} if receipt else {"rewritten"}))


def rewrite_with_another_key(random: Random, honest: Made) -> Forged:
    forged = edit_field(honest, _at(random, honest), "action")
    return Forged(replace(forged.made.relinked(), notes=None, key=THIEF))


def forge_signature(random: Random, honest: Made) -> Forged:
    """The right key's name and id before another signature, or over another text."""
    made, notes = honest.copy(), honest.signed()
    at = random.randrange(len(notes))
    size = notes[at].split("\n")[1]
    notes[at] = notes[at].replace(f"\n{size}\n", f"\n{int(size) + 1}\n", 1)
    made.notes = notes
    return Forged(made, rules=frozenset({"bad_checkpoint"}))


def checkpoint_of_another_log(random: Random, honest: Made) -> Forged:
    made, other = honest.copy(), Made.honest(random, len(honest.entries), LOG + "0")
    made.notes = [*honest.signed()[:-1], other.signed()[-1]]
    return Forged(made, rules=frozenset({"bad_checkpoint"}))


def change_payload(random: Random, honest: Made) -> Forged:
    made, at = honest.copy(), _at(random, honest)
    payload, salt = made.payloads[at]
    assert payload is not None
    assert salt is not None
    other = [(payload[:-1] + b" }", salt), (payload, salt[:-1] + bytes([salt[-1] ^ 1]))]
    made.payloads[at] = random.choice(other)
    return Forged(made, rules=frozenset({"wrong_payload"}), first=at)


def blank_payload(random: Random, honest: Made) -> Forged:
    """Without a word."""
    made, at = honest.copy(), _at(random, honest)
    made.payloads[at] = (None, None)
    return Forged(made, rules=frozenset({"missing_payload"}), first=at)


def drop_payloads(random: Random, honest: Made) -> Forged:
    made, at = honest.copy(), _at(random, honest)
    del made.payloads[at]
    return Forged(made)


def flip(random: Random, honest: Made) -> Forged:
    """One bit of one file."""
    name, place, bit = random.choice([ENTRIES, PAYLOADS]), random.random(), 1 << random.randrange(8)

    def then(folder: Path) -> None:
        path = folder / "1" / name
        data = bytearray(path.read_bytes())
        data[int(place * len(data))] ^= bit
        path.write_bytes(data)

    return Forged(honest, then=then)


def end_early(random: Random, honest: Made) -> Forged:
    """A file of which the end is missing."""
    name, place = random.choice([ENTRIES, PAYLOADS]), random.random()

    def then(folder: Path) -> None:
        path = folder / "1" / name
        data = path.read_bytes()
        path.write_bytes(data[: int(place * len(data))])

    return Forged(honest, then=then)


def drop_the_older_log(random: Random, honest: Made) -> Forged:
    """Of the logs of an organisation, the first."""
    _, new = reopened(honest, _at(random, honest))
    return Forged(new, rules=frozenset({"not_linked"}), first=0)


def rewrite_the_older_log(random: Random, honest: Made) -> Forged:
    """With all its signatures, by a stolen key: the next log tells what it was."""
    old, new = reopened(honest, _at(random, honest) + 1)
    made = replace(edit_field(old, _at(random, old), "action").made.relinked(), notes=None)
    return Forged(made, rules=frozenset({"not_linked"}), more=(new,))


def cut_the_older_log(random: Random, honest: Made) -> Forged:
    old, new = reopened(honest, _at(random, honest) + 1)
    made, at = old.copy(), _at(random, old)
    del made.entries[at:], made.payloads[at:]
    return Forged(replace(made, notes=None, marks=[at] if at else []), rules=frozenset({"not_linked"}), more=(new,))


def tell_of_another_loss(random: Random, honest: Made) -> Forged:
    """The entry that links two logs says that nothing was lost; what is signed says otherwise."""
    old, new = reopened(honest, _at(random, honest))
    notes, payload = new.signed(), json.loads(new.payloads[0][0] or b"")
    previous = payload["previous"]
    previous |= {"signed_size": previous["size"], "signed_root": previous["root"]}
    new.payloads[0] = (canonical_bytes(payload), new.payloads[0][1])
    return Forged(old, rules=frozenset({"wrong_root", "cut"}), more=(replace(new.relinked(), notes=notes),))


def hide_a_lost_log(random: Random, honest: Made) -> Forged:
    """With a stolen key: of the log that was lost whole, or of how it is called, the next one says nothing."""
    lost = Made.honest(random, 3, f"{LOG}/e2").state(3)
    old, new = reopened(honest, _at(random, honest), lost=[lost])
    payload = json.loads(new.payloads[0][0] or b"")
    payload["previous"]["lost"] = random.choice([[], [{"log": f"{LOG}/e4", "size": 3, "root": "00" * 32}]])
    new.payloads[0] = (canonical_bytes(payload), new.payloads[0][1])
    return Forged(old, rules=frozenset({"not_linked"}), first=0, more=(replace(new.relinked(), notes=None),))


def payload_of_no_log(random: Random, honest: Made) -> Forged:
    """With a stolen key: one that a line does not hold, or that is none."""
    made, at = honest.copy(), _at(random, honest)
    payload = random.choice([b"[]", b"7", b'{"a":\t1}', b'{"a":"' + b"x" * 270_000 + b'"}'])
    made.payloads[at] = (payload, b"s" * 16)
    return Forged(replace(made.relinked(), notes=None), rules=frozenset({"bad_payload"}), first=at)


FORGERS: dict[str, Callable[[Random, Made], Forged]] = {
    "edit": edit,
    "edit and relink": edit_and_relink,
    "drop": drop,
    "drop and relink": relinked(drop),
    "swap": swap,
    "swap and relink": relinked(swap),
    "repeat": repeat,
    "repeat and relink": relinked(repeat),
    "insert": insert,
    "insert and relink": relinked(insert),
    "add": add,
    "cut": cut,
    "cut with checkpoints": cut_with_checkpoints,
    "rewrite with a stolen key": rewrite_with_stolen_key,
    "rewrite with another key": rewrite_with_another_key,
    "forge a signature": forge_signature,
    "checkpoint of another log": checkpoint_of_another_log,
    "change a payload": change_payload,
    "blank a payload": blank_payload,
    "drop a payload": drop_payloads,
    "flip a bit": flip,
    "end early": end_early,
    "drop the older log": drop_the_older_log,
    "rewrite the older log": rewrite_the_older_log,
    "cut the older log": cut_the_older_log,
    "tell of another loss": tell_of_another_loss,
    "hide a lost log": hide_a_lost_log,
    "payload of no log": payload_of_no_log,
}
