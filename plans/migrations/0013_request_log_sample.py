from django.db import migrations, models
from django.db.models import F

_PRIME = 2**31 - 1
_SPREAD = (F("id") % _PRIME * 48_271) % _PRIME


class Migration(migrations.Migration):
    dependencies = [
        ("plans", "0012_fill_summary"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="requestlog",
            index=models.Index(F("org"), (_SPREAD * _SPREAD % _PRIME) % 4_096, F("ts"), name="request_log_sample"),
        ),
    ]
