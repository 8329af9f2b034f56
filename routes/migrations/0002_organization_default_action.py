from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("routes", "0001_initial"),
    ]

    operations = [
        # Nullable and without a default of the database: code that does not know the column writes null by leaving it
        # out, which is what it meant.
        migrations.AddField(
            model_name="organization",
            name="default_action",
            field=models.JSONField(blank=True, editable=False, null=True),
        ),
    ]
