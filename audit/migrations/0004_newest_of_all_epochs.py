from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0003_one_current_log"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(fields=["org_id", "-epoch", "-seq"], name="audit_newest_of_all"),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(fields=["org_id", "action", "-epoch", "-seq"], name="audit_newest_by_action"),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(
                fields=["org_id", "target_type", "target_id", "-epoch", "-seq"], name="audit_newest_by_target"
            ),
        ),
        migrations.RemoveIndex(
            model_name="auditentry",
            name="audit_newest_first",
        ),
        migrations.RemoveIndex(
            model_name="auditentry",
            name="audit_by_action",
        ),
        migrations.RemoveIndex(
            model_name="auditentry",
            name="audit_by_target",
        ),
    ]
