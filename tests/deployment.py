"""`python -m tests.deployment`: the settings as production has them, checked in processes of their own."""

import os
import subprocess
import sys

from tests.paths import ROOT

PRODUCTION = {
    "SECRET_KEY": "k9!" + "abcdefghijklmnopqrstuvwxyz0123456789" * 2,
    "API_KEY_PEPPERS": "1=pepper",
    "ALLOWED_HOSTS": "routing.example",
    "AUDIT_ORIGIN": "routing.example",
    "DATABASE_URL": "sqlite:///:memory:",
    "STATIC_ROOT": "/tmp/routing-admin-static",
}


def manage(*args: str, **changes: str | None) -> subprocess.CompletedProcess[str]:
    """manage.py with production's environment, changed; None takes a variable away. The .env file is not read."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment |= {name: value for name, value in {**PRODUCTION, **changes}.items() if value is not None}
    environment["DOTENV"] = ""
    return subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "manage.py", *args],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


if __name__ == "__main__":
    for command in (["check", "--deploy", "--fail-level", "WARNING"], ["makemigrations", "--check", "--dry-run"]):
        done = manage(*command)
        print(" ".join(command), "→", (done.stdout + done.stderr).strip())
        if done.returncode:
            sys.exit(done.returncode)
