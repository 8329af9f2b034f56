"""Environments for what the project is raced against: each has a Python of its own below `.tools`, so that nothing of it
gets among the project's own packages.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from tests.bench.report import say
from tests.bench.workload import ROOT, TOOLS, NotHereError

INSTALL_SECONDS = 300


def python_of(name: str, pinned: Sequence[str]) -> str:
    """The Python of the environment of this name, which is made where it is not as pinned. What cannot be had is named,
    and missing there. Raises `NotHereError` where nothing of it can be had."""
    environment = TOOLS / name
    python = environment / "bin" / "python"
    stamp, wanted = environment / "pinned", "\n".join([sys.version, *pinned])
    if stamp.exists() and stamp.read_text() == wanted:
        return str(python)
    uv = shutil.which("uv") or shutil.which("uv", path=str(TOOLS / "bin"))
    say(f"making the environment {name} in {TOOLS.name}")
    if uv:
        make = [uv, "venv", "--quiet", "--clear", "--no-python-downloads", "--python", sys.executable, environment]
        install = [uv, "pip", "install", "--quiet", "--python", python]
    else:
        make = [sys.executable, "-m", "venv", "--clear", environment]
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if problem := _fails(make):
        raise NotHereError(f"no environment for the {name}: {problem}")
    if _fails([*install, *pinned]):
        # One that cannot be had shall not keep the others away.
        missing = [each for each in pinned if _fails([*install, each])]
        if len(missing) == len(pinned):
            raise NotHereError(f"none of the {name} can be installed")
        say(f"not installed: {', '.join(missing)}")
    else:
        stamp.write_text(wanted)
    return str(python)


def run_inside(python: str, module: str, *arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run a module of the project by that Python, which finds the project's code beside its own packages and no others.
    `options` are those of `subprocess.run`."""
    environment = _clean() | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [python, "-m", module, *arguments], cwd=ROOT, env=environment, text=True, check=False, **options
    )


def in_each_database(module: str) -> int:
    """Run a race that `TEST_DATABASE` names the database of, in SQLite and in PostgreSQL; the exit code of both."""
    failed = 0
    for database in ("sqlite", "postgres"):
        environment = {**os.environ, "TEST_DATABASE": database}
        command = [sys.executable, "-m", module, *sys.argv[1:]]
        failed += subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode != 0
    return 1 if failed else 0


def _fails(command: list[Any]) -> str | None:
    """The last line of what a failing command says, None where it succeeds."""
    try:
        run = subprocess.run(
            command, capture_output=True, text=True, check=False, env=_clean(), timeout=INSTALL_SECONDS
        )
    except subprocess.TimeoutExpired:
        return f"no end after {INSTALL_SECONDS} s"
    return (run.stderr.strip().splitlines() or ["it does not say why"])[-1] if run.returncode else None


def _clean() -> dict[str, str]:
    """The environment without what points at the project's own packages."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
