"""The command that writes request logs as Parquet files."""

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from plans.management.commands import export_logs
from routes.orgs.models import Organization

pytestmark = pytest.mark.django_db


def test_to_interrupt_it_is_one_line_and_the_next_one_writes_all(
    org: Organization, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed: uv sync --group parquet")

    class Interrupted:
        has_unique_ids = True

        def __init__(self, *_: object) -> None:
            pass

        def blocks(self, *_: object) -> object:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(export_logs, "DatabaseSource", Interrupted)
        with pytest.raises(CommandError) as caught:
            call_command("export_logs", str(tmp_path), "--org", "acme")
    assert str(caught.value) == "Interrupted; plans do not see what was written, and the next export writes it anew."
    assert caught.value.returncode == 130
    assert not (tmp_path / str(org.pk)).exists()
    call_command("export_logs", str(tmp_path), "--org", "acme", verbosity=0)
    assert [path.name for path in tmp_path.iterdir()] == [str(org.pk)]
