import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("routes", "0003_idempotency_key")]

    operations = [
        migrations.CreateModel(
            name="GatewayInstance",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("instance", models.CharField(max_length=100)),
                ("running", models.PositiveBigIntegerField()),
                ("rejected", models.JSONField(null=True)),
                ("schema_max", models.PositiveSmallIntegerField()),
                ("engine", models.CharField(max_length=50)),
                ("extras", models.JSONField(default=list)),
                ("reported_at", models.DateTimeField()),
                (
                    "org",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="gateways", to="routes.organization"
                    ),
                ),
            ],
            options={
                "ordering": ["org", "instance"],
                "constraints": [
                    models.UniqueConstraint(fields=("org", "instance"), name="gateway_instance_once_per_org")
                ],
            },
        ),
    ]
