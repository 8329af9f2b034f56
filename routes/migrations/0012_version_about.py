from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("routes", "0011_what_needs_no_second_person"),
    ]

    operations = [
        migrations.AddField(
            model_name="routesetversion",
            name="about",
            field=models.CharField(blank=True, db_default="", default="", max_length=1000),
        ),
    ]
