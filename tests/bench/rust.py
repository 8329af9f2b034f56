"""Programs in Rust: how one is compiled and run, and the linear scan over the shared workload beside a race in Python."""

import hashlib
import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from tests.bench.timing import Candidate, race
from tests.bench.workload import SHARED, TOOLS, NotHereError, Workload, must_agree, shared_module

#: Conditions as an enumeration over strings, as one writes it; and everything interned to integers beforehand.
RUST, TUNED_RUST = "Rust scan", "tuned Rust scan"
SCAN = "rules_linear"


@cache
def missing() -> str | None:
    """Why the scan cannot run here, None where it can."""
    try:
        program_of(SCAN)
    except NotHereError as error:
        return str(error)
    return None


def race_beside_rust(
    workload: Workload, right: list[int], candidates: Mapping[str, Candidate], *, quick: bool = False
) -> dict[str, float]:
    """The times of the candidates, each of which goes through all requests, and of the two scans: seconds a request.

    The scans have a process of their own and cannot take turns with what runs in Python: they run once before and once
    after, and the mean counts (quick: once, before). Where they cannot run at all, their names are missing.
    """
    scans = [] if missing() else [_scan(workload, right)]
    took = race(candidates, quick=quick, per=len(workload.requests))
    if scans and not quick:
        scans.append(_scan(workload, right))
    return took | {name: sum(scan[name] for scan in scans) / len(scans) for name in (scans[0] if scans else ())}


def program_of(name: str) -> Path:
    """The program of a source in the shared folder, compiled where it is not yet. Raises `NotHereError`."""
    source = SHARED / f"{name}.rs"
    if not source.exists():
        raise NotHereError(f"../shared/bench/{source.name} is not here")
    compiler = shutil.which("rustc")
    if compiler is None:
        raise NotHereError("rustc is not here")
    program = TOOLS / f"{name}-{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}"
    if not program.exists():
        TOOLS.mkdir(exist_ok=True)
        made = program.with_suffix(f".{os.getpid()}")
        run = subprocess.run([compiler, "-O", "-o", made, source], capture_output=True, text=True, check=False)
        if run.returncode:
            raise NotHereError(f"rustc fails: {(run.stderr.strip().splitlines() or ['it does not say why'])[0]}")
        made.replace(program)
    return program


def run_program(program: Path, *arguments: str) -> tuple[str, float]:
    """What a program of one thread prints, and the share of the time of day that the processor spent on it: a program
    reads the time of day, and what others took of the processor meanwhile is not its own."""
    start, spent = time.perf_counter(), _spent_by_children()
    run = subprocess.run([program, *arguments], capture_output=True, text=True, check=True)
    return run.stdout, min(1.0, (_spent_by_children() - spent) / (time.perf_counter() - start))


def _scan(workload: Workload, right: list[int]) -> dict[str, float]:
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as file:
        shared_module("rules_workload").dump_tsv(workload.rules, workload.requests, file.name)
        told, share = run_program(program_of(SCAN), file.name)
    idiomatic_ns, tuned_ns, answers = told.split()
    must_agree(f"The {RUST}", [int(answer) for answer in answers.split(",")], right)
    return {RUST: float(idiomatic_ns) * share * 1e-9, TUNED_RUST: float(tuned_ns) * share * 1e-9}


def _spent_by_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
