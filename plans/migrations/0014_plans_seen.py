import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("plans", "0013_request_log_sample"),
        ("routes", "0011_what_needs_no_second_person"),
    ]

    operations = [
        migrations.CreateModel(
            name="PlansSeen",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("person", models.CharField(max_length=100)),
                ("seen_at", models.DateTimeField()),
                (
                    "org",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="routes.organization"
                    ),
                ),
            ],
            options={
                "ordering": ["org", "person"],
                "constraints": [models.UniqueConstraint(fields=("org", "person"), name="plans_seen_once_per_person")],
            },
        ),
    ]
