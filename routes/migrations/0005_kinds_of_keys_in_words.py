from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("routes", "0004_gateway_instance")]

    operations = [
        migrations.AlterField(
            model_name="apikey",
            name="kind",
            field=models.CharField(
                choices=[
                    ("management", "Management: acts for you through the API"),
                    ("gateway", "Gateway: reads what it runs, reports itself, sends logs"),
                    ("traffic", "Traffic: sends requests to gateways"),
                ],
                max_length=10,
            ),
        ),
    ]
