"""10,000 forged bundles, which the offline verifier refuses, and 10,000 honest ones of random size, which it accepts."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from audit.log.verify import Found, verify
from tests.audit.log.forging import FORGERS, KEY, Forged, Made, redacted, reopened, written, zipped

BUNDLES = 10_000


def run(seed: int, say: Callable[[str], None]) -> bool:
    with TemporaryDirectory() as folder:
        told, faults = forge_and_verify(BUNDLES, seed, Path(folder))
    say(", ".join(f"{number:,} {what}" for what, number in sorted(told.items())))
    for fault in faults[:20]:
        say(fault)
    return not faults


def forge_and_verify(bundles: int, seed: int, folder: Path, *, largest: int = 60) -> tuple[Counter[str], list[str]]:
    """How many of each kind were judged rightly, and a line for each that was not."""
    told, faults = Counter[str](), []
    for number in range(bundles):
        random = Random(f"{seed} {number}")
        honest = Made.honest(random, random.randint(1, largest))
        fault = _accepted(random, honest, folder) or _refused(random, honest, folder, told)
        if fault:
            faults.append(f"seed {seed}, bundle {number}: {fault}")
        told["honest ones accepted"] += 1
    return told, faults


def _accepted(random: Random, honest: Made, folder: Path) -> str:
    made, size = honest.copy(), len(honest.entries)
    if random.random() < 0.3:
        redacted(made, random.randrange(size))
    logs = [made]
    if random.random() < 0.2:
        lost = [made.state(size)] if (size := random.randrange(3)) and size <= len(made.entries) else []
        lost = [replace(one, origin=f"{one.origin}/e2") for one in lost]
        logs = reopened(made, random.randint(0, len(made.entries)), lost=lost)
        if len(logs[0].entries) < len(made.entries):  # what came back is from before the payload was blanked
            logs[0].payloads = honest.payloads[: len(logs[0].payloads)]
    path = written(folder / "honest", *logs)
    if random.random() < 0.2:
        path = zipped(path)
    kept = len(logs[0].entries)
    since = made.state(random.randint(0, kept)) if random.random() < 0.5 else None
    receipt = made.receipt(random.randrange(kept)) if kept and random.random() < 0.5 else None
    found = verify(
        path, [KEY.verify_key], since=since, receipt=receipt, hashes_only=len(logs) == 1 and random.random() < 0.2
    )
    return "" if found.code == 0 else f"an honest one is refused: {found}"


def _refused(random: Random, honest: Made, folder: Path, told: Counter[str]) -> str:
    name = random.choice(sorted(FORGERS))
    forged = FORGERS[name](random, honest)
    path = written(folder / "forged", forged.made, *forged.more)
    forged.then(path)
    found = verify(path, [KEY.verify_key], since=forged.since, receipt=forged.receipt)
    if found.code == 0:
        return f"{name}: accepted"
    if forged.rules and found.rule not in forged.rules:
        return f"{name}: {found.rule} instead of {set(forged.rules)}: {found.message}"
    if forged.first is not None and found.bad_seq is not None and not _is_named(found, forged):
        return f"{name}: entry {found.bad_seq} instead of {forged.first}: {found}"
    told[f"{name}: {found.rule or found.verdict}"] += 1
    return ""


def _is_named(found: Found, forged: Forged) -> bool:
    """Whether it names the entry, as far as anybody can know: of what fits together only a checkpoint tells, from the one
    before it on; and of the last link only that one of its two ends was changed."""
    assert found.bad_seq is not None
    assert forged.first is not None
    if found.rule == "wrong_root":
        return found.bad_seq <= forged.first
    last = len(forged.made.entries) - 1
    return found.bad_seq == forged.first or (
        found.rule == "wrong_prev" and (found.bad_seq, forged.first) == (last - 1, last)
    )
