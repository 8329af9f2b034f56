from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class RoutingAdminConfig(AppConfig):
    """What composes the other applications; in INSTALLED_APPS for its management commands."""

    name = "routing_admin"

    def ready(self) -> None:
        from plans.errors import PlansError
        from plans.runs.services import draft_of
        from routes.errors import RoutesError
        from routes.publish import DirectWrite, DraftRefused

        def make(refused: DirectWrite) -> object:
            try:
                return draft_of(refused)
            except (PlansError, RoutesError) as error:
                raise DraftRefused(str(error)) from error

        DirectWrite.make = make


class SiteConfig(AdminConfig):
    """The stock admin with the project's own site: home page, pages per organisation, access by role."""

    default_site = "routing_admin.site.Site"
