from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0004_newest_of_all_epochs"),
    ]

    operations = [
        migrations.CreateModel(
            name="Checkpoint",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("log", models.CharField(max_length=300)),
                ("size", models.PositiveBigIntegerField()),
                ("note", models.TextField()),
                ("signed_at", models.DateTimeField()),
                ("checked_at", models.DateTimeField()),
            ],
            options={
                "ordering": ["log", "-size"],
            },
        ),
        migrations.CreateModel(
            name="Refusal",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("log", models.CharField(max_length=300, unique=True)),
                ("since", models.DateTimeField()),
                ("rule", models.CharField(max_length=50)),
                ("message", models.TextField()),
            ],
            options={
                "ordering": ["log"],
            },
        ),
        migrations.AddConstraint(
            model_name="checkpoint",
            constraint=models.UniqueConstraint(fields=("log", "size"), name="audit_checkpoint_once_per_size"),
        ),
    ]
