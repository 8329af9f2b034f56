"""All URLs: the admin, and the API of each subject under its organisation."""

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from audit.api import AuditList, InstallationAuditList
from audit.evidence import api as evidence
from plans.explaining import api as explaining
from plans.logs import api as logs
from plans.runs import api as plans
from routes.catalog import api as catalog
from routes.examples import api as examples
from routes.fleet import api as fleet
from routes.history import api as history
from routes.orgs import api as orgs
from routes.paths import api as paths
from routes.placements import api as placements
from routes.redaction import api as redaction
from routes.rules import api as rules
from routes.transfer import api as transfer
from routing_admin.docs import views as docs
from routing_admin.refusals import nothing_here

of_organization = [
    *orgs.urlpatterns,
    *catalog.urlpatterns,
    *fleet.urlpatterns,
    *transfer.urlpatterns,
    *rules.urlpatterns,
    *paths.urlpatterns,
    *examples.urlpatterns,
    *placements.urlpatterns,
    *history.urlpatterns,
    *plans.urlpatterns,
    *explaining.urlpatterns,
    *logs.urlpatterns,
    path("audit/", AuditList.as_view(), name="audit"),
    *evidence.urls("audit", "viewer"),
    *redaction.urlpatterns,
]

api = [
    *orgs.outside,
    *catalog.outside,
    *fleet.outside,
    path("audit/", InstallationAuditList.as_view(), name="installation_audit"),
    *evidence.urls("installation_audit", "installation"),
    *redaction.outside,
    path("orgs/<str:org>/", include(of_organization)),
]

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index"), name="root"),
    path("admin/", admin.site.urls),
    path("api/v1/", include((api, "api"))),
    path("api/schema/", docs.schema, name="api_schema"),
    path("api/docs/", docs.docs, name="api_docs"),
    path("api/docs/explorer/", docs.explorer, name="api_explorer"),
    re_path("^api(?:/|$)", nothing_here),
]

handler400 = "routing_admin.refusals.bad_request"
handler403 = "routing_admin.refusals.forbidden"
handler404 = "routing_admin.refusals.not_found"
handler500 = "routing_admin.refusals.server_error"
