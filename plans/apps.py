from django.apps import AppConfig


class PlansConfig(AppConfig):
    name = "plans"

    def ready(self) -> None:
        from plans.runs.steps import forget_reason
        from routes.redaction.services import ALSO_EMPTIED

        ALSO_EMPTIED["plan.rejected"] = forget_reason
