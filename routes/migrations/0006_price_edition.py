from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("routes", "0005_kinds_of_keys_in_words")]

    operations = [
        migrations.CreateModel(
            name="PriceEdition",
            fields=[
                ("scope", models.CharField(max_length=36, primary_key=True, serialize=False)),
                ("edition", models.UUIDField()),
                ("changed_at", models.DateTimeField()),
            ],
        ),
    ]
