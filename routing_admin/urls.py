"""All URLs: the admin, and the API of each subject under its organisation."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from audit.api import AuditList
from plans.logs import api as logs
from plans.runs import api as plans
from routes.fleet import api as fleet
from routes.orgs import api as orgs
from routes.rules import api as rules

of_organization = [
    *orgs.urlpatterns,
    *fleet.urlpatterns,
    *rules.urlpatterns,
    *plans.urlpatterns,
    *logs.urlpatterns,
    path("audit/", AuditList.as_view(), name="audit"),
]

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index"), name="root"),
    path("admin/", admin.site.urls),
    path(
        "api/v1/", include(([*orgs.outside, *fleet.outside, path("orgs/<str:org>/", include(of_organization))], "api"))
    ),
]
