"""Prints what the services of an installation may do in its PostgreSQL database: no more than they need."""

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from audit.models import AuditEntry, AuditHead, Checkpoint, Refusal
from routes.database import VIEWS
from routes.orgs.models import Organization

ENTRY, HEAD, CHECKPOINT, REFUSAL = (model._meta.db_table for model in (AuditEntry, AuditHead, Checkpoint, Refusal))
MIGRATIONS = MigrationRecorder.Migration._meta.db_table
#: Where the application may not do everything with rows. Entries are added; of one that is there a payload is blanked.
_OF_APPLICATION = {
    ENTRY: "SELECT, INSERT, UPDATE (payload, salt)",
    HEAD: "SELECT, INSERT, UPDATE",
    CHECKPOINT: "SELECT",
    REFUSAL: "SELECT",
    MIGRATIONS: "SELECT",
}
#: It also writes the entries about its keys and about logs that are opened anew, and puts heads right then. Other tables it
#: does not see.
_OF_SIGNER = {
    ENTRY: "SELECT, INSERT",
    HEAD: "SELECT, INSERT, UPDATE, DELETE",
    CHECKPOINT: "SELECT, INSERT, UPDATE",
    REFUSAL: "SELECT, INSERT, UPDATE, DELETE",
    # By which logs are named in commands.
    Organization._meta.db_table: "SELECT (id, slug)",
}


class Command(BaseCommand):
    help = (
        "Print the SQL that gives roles of PostgreSQL what they need: one for the web processes and the worker, one for"
        " `audit_sign`, one for gateways that read the database. Run it as the role that owns the tables, which is the one"
        " that migrates, after every migrate."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--application", required=True, metavar="ROLE")
        parser.add_argument("--signer", required=True, metavar="ROLE", help="the same one where the worker signs")
        parser.add_argument("--gateway", default="", metavar="ROLE", help="for gateways that read the database")

    def handle(self, *args: Any, **options: Any) -> None:
        if connection.vendor != "postgresql":
            raise CommandError("SQLite has no roles: whoever can write to the file can write to all of it.")
        self.stdout.write("\n".join(statements(options["application"], options["signer"], options["gateway"])))


def statements(application: str, signer: str, gateway: str = "") -> Iterator[str]:
    """In one transaction; what a role had before is taken away first."""
    quote = connection.ops.quote_name
    application, signer, gateway = (name and quote(name) for name in (application, signer, gateway))
    yield "BEGIN;"
    for role in dict.fromkeys(filter(None, (application, signer, gateway))):
        yield f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role};"
        yield f"GRANT USAGE ON SCHEMA public TO {role};"
    tables = {model._meta.db_table for model in apps.get_models(include_auto_created=True) if model._meta.managed}
    for table in sorted(tables | {MIGRATIONS}):
        rights = _OF_APPLICATION.get(table, "SELECT, INSERT, UPDATE, DELETE")
        yield f"GRANT {rights} ON {quote(table)} TO {application};"
    for table, rights in _OF_SIGNER.items():
        yield f"GRANT {rights} ON {quote(table)} TO {signer};"
    if gateway:
        for view in VIEWS:
            yield f"GRANT SELECT ON {quote(view)} TO {gateway};"
    yield "COMMIT;"
