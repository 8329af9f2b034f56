"""Names what the price tables say that were there before."""

from typing import Any
from uuid import uuid4

from django.db import migrations
from django.utils import timezone


def name_editions(apps: Any, schema_editor: Any) -> None:
    prices, editions = apps.get_model("routes", "ModelPrice"), apps.get_model("routes", "PriceEdition")
    for org_id in prices.objects.order_by().values_list("org", flat=True).distinct():
        scope = "everybody" if org_id is None else str(org_id)
        editions.objects.create(scope=scope, edition=uuid4(), changed_at=timezone.now())


class Migration(migrations.Migration):
    dependencies = [("routes", "0006_price_edition")]

    operations = [migrations.RunPython(name_editions, migrations.RunPython.noop)]
