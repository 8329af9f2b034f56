from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("routes", "0012_version_about"),
    ]

    operations = [
        migrations.AddField(
            model_name="apikey",
            name="allows_force",
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
        migrations.AddField(
            model_name="apikey",
            name="metadata",
            field=models.JSONField(
                blank=True, db_default=models.Value({}, models.JSONField()), default=dict, editable=False
            ),
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind", "traffic"), ("allows_force", False), _connector="OR"),
                name="api_key_allows_force_only_for_traffic",
            ),
        ),
    ]
