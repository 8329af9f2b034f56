from typing import Any

from django.db import migrations, models


def close(apps: Any, schema_editor: Any) -> None:
    """Of several logs of the installation, which another AUDIT_ORIGIN could open, the one written last goes on."""
    heads = apps.get_model("audit", "AuditHead").objects.using(schema_editor.connection.alias).filter(org_id=None)
    for head in heads.order_by("-last_ts", "pk")[1:]:
        heads.filter(pk=head.pk).update(is_current=False)


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0002_epochs"),
    ]

    operations = [
        migrations.RunPython(close, migrations.RunPython.noop),
        migrations.AddConstraint(
            model_name="audithead",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_current", True)), fields=("org_id",), name="audit_one_current_log"
            ),
        ),
        migrations.AddConstraint(
            model_name="audithead",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_current", True), ("org_id", None)),
                fields=("is_current",),
                name="audit_one_current_log_of_the_installation",
            ),
        ),
    ]
