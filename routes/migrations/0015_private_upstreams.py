from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("routes", "0014_services"),
    ]

    operations = [
        migrations.AddField(
            model_name="organization",
            name="private_upstreams",
            field=models.JSONField(
                blank=True, db_default=models.Value([], models.JSONField()), default=list, editable=False
            ),
        ),
    ]
