from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("plans", "0010_approved_has_its_approval"),
    ]

    operations = [
        migrations.AddField(
            model_name="planrun",
            name="summary",
            field=models.JSONField(db_default={}, default=dict),
        ),
    ]
