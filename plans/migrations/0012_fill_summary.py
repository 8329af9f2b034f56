import json
from typing import Any

from django.db import migrations

#: A result may have half a megabyte: so few are in memory at once.
BATCH = 25
TOTALS = (
    "requests_rerouted",
    "requests_kept",
    "requests_unprice_able",
    "projected_savings_usd",
    "projected_savings_pct",
)


def fill(apps: Any, schema_editor: Any) -> None:
    """Of each result there is, what a list shows of it. May be run again."""
    plans = apps.get_model("plans", "PlanRun").objects.using(schema_editor.connection.alias)
    rows = plans.exclude(result="").order_by("pk").values_list("pk", "result")
    batch = list(rows[:BATCH])
    while batch:
        for pk, text in batch:
            result = json.loads(text)
            totals, intervals = result["aggregates"], result["confidence_intervals"]
            summary = {
                "sample_size": result["sample_size"],
                "aggregates": {name: totals[name] for name in TOTALS if name in totals},
                "confidence_intervals": {"savings_usd_95": intervals.get("savings_usd_95")},
            }
            plans.filter(pk=pk).update(summary=summary)
        batch = list(rows.filter(pk__gt=batch[-1][0])[:BATCH])


class Migration(migrations.Migration):
    #: Each plan for itself: nobody waits for all of them.
    atomic = False

    dependencies = [
        ("plans", "0011_summary"),
    ]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
