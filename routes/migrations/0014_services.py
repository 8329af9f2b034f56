import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("routes", "0013_traffic_keys"),
    ]

    operations = [
        migrations.CreateModel(
            name="Service",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.CharField(max_length=63)),
                ("enabled", models.BooleanField(default=True)),
                ("timeouts", models.JSONField(default=dict)),
                ("paths", models.JSONField(default=list)),
                ("revision", models.PositiveBigIntegerField()),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "org",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="services", to="routes.organization"
                    ),
                ),
            ],
            options={
                "ordering": ["org", "slug"],
                "constraints": [
                    models.UniqueConstraint(fields=("org", "slug"), name="service_slug_once_per_org"),
                    models.CheckConstraint(condition=models.Q(("slug", ""), _negated=True), name="service_has_a_slug"),
                ],
            },
        ),
        migrations.CreateModel(
            name="ServiceHost",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("host", models.CharField(max_length=253, unique=True)),
                ("slug", models.CharField(max_length=63)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "org",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="service_hosts",
                        to="routes.organization",
                    ),
                ),
            ],
            options={
                "ordering": ["host"],
                "indexes": [models.Index(fields=["org", "slug"], name="service_host_of")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("host", ""), _negated=True), models.Q(("slug", ""), _negated=True)
                        ),
                        name="service_host_names_both",
                    )
                ],
            },
        ),
    ]
