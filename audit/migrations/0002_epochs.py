from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="auditentry",
            name="epoch",
            field=models.PositiveIntegerField(db_default=1, default=1),
        ),
        migrations.AddField(
            model_name="audithead",
            name="epoch",
            field=models.PositiveIntegerField(db_default=1, default=1),
        ),
        migrations.AddField(
            model_name="audithead",
            name="is_current",
            field=models.BooleanField(db_default=True, default=True),
        ),
        migrations.AlterField(
            model_name="audithead",
            name="org_id",
            field=models.UUIDField(null=True),
        ),
    ]
