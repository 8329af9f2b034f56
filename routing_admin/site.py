"""The admin site: the stock one, with pages per organisation that check who comes."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib.admin import AdminSite
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import URLPattern, include, path
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache

from routes.errors import NotFound
from routes.orgs.access import grant_in, grant_outside

Page = Callable[..., HttpResponse]


class Site(AdminSite):
    """Every page of an organisation lies under `o/<slug>/`, those of the installation beside it; each is a plain function
    and states its `required_role`."""

    site_header = "Routing Admin"
    site_title = "Routing Admin"
    index_title = "Organisations"
    enable_nav_sidebar = False

    def get_urls(self) -> list[Any]:
        from audit.admin import INSTALLATION_PAGES as INSTALLATION_AUDIT
        from audit.admin import PAGES as AUDIT
        from plans.explaining.admin import PAGES as EXPLAINING
        from plans.logs.admin import PAGES as LOGS
        from plans.matching.admin import PAGES as MATCHING
        from plans.runs.admin import PAGES as RUNS
        from routes.catalog.admin import PAGES as CATALOG
        from routes.examples.admin import PAGES as EXAMPLES
        from routes.fleet.admin import PAGES as FLEET
        from routes.history.admin import PAGES as HISTORY
        from routes.orgs.admin import INSTALLATION_PAGES
        from routes.orgs.admin import PAGES as ACCESS
        from routes.paths.admin import PAGES as SERVICES
        from routes.placements.admin import PAGES as PLACEMENTS
        from routes.redaction.admin import INSTALLATION_PAGES as INSTALLATION_REDACTION
        from routes.redaction.admin import PAGES as REDACTION
        from routes.rules.acting import PAGES as ACTING
        from routes.rules.admin import PAGES as RULES
        from routes.rules.help import OUTSIDE_PAGES as HELP
        from routes.rules.kept import PAGES as KEPT
        from routes.transfer.admin import PAGES as TRANSFER
        from routing_admin.finding import OUTSIDE_PAGES as FINDING_OUTSIDE
        from routing_admin.finding import PAGES as FINDING
        from routing_admin.home import PAGES as HOME
        from routing_admin.signin.security import PAGES as SECURITY
        from routing_admin.signin.views import OPEN_PAGES

        pages = [
            *HOME,
            *FINDING,
            *RULES,
            *ACTING,
            *SERVICES,
            *TRANSFER,
            *HISTORY,
            *EXAMPLES,
            *KEPT,
            *RUNS,
            *AUDIT,
            *REDACTION,
            *LOGS,
            *EXPLAINING,
            *MATCHING,
            *CATALOG,
            *FLEET,
            *PLACEMENTS,
            *ACCESS,
        ]
        return [
            path("o/<slug:org>/", include([self._guarded(pattern) for pattern in pages])),
            *(
                self._guarded(pattern)
                for pattern in (
                    *FINDING_OUTSIDE,
                    *HELP,
                    *INSTALLATION_PAGES,
                    *INSTALLATION_AUDIT,
                    *INSTALLATION_REDACTION,
                    *SECURITY,
                )
            ),
            *OPEN_PAGES,
            *super().get_urls(),
        ]

    def _guarded(self, pattern: URLPattern) -> URLPattern:
        view = self.admin_view(self._granted(pattern.callback))
        return URLPattern(pattern.pattern, view, pattern.default_args, pattern.name)

    def _granted(self, page: Page) -> Page:
        required: str = page.required_role

        @wraps(page)
        @never_cache
        def guarded(request: HttpRequest, org: str | None = None, **kwargs: Any) -> HttpResponse:
            try:
                grant = grant_outside(request.user) if org is None else grant_in(org, request.user)
            except NotFound as error:
                raise Http404(str(error)) from error
            if not grant.may(required):
                raise PermissionDenied(f"You are {grant} here; this needs {required}.")
            request.org = grant.org
            request.actor = request.user
            request.grant = grant
            request.role = grant.role
            request.current_app = self.name
            return page(request, **kwargs)

        return guarded

    @method_decorator(never_cache)
    @login_not_required
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The stock page, whose form may lead to the page for the code, with the way to the OpenID provider."""
        from routing_admin.signin.forms import SignInForm
        from routing_admin.signin.reasons import said
        from routing_admin.signin.views import SignIn, checked_next

        then = checked_next(request)
        if request.method == "GET" and self.has_permission(request):
            return redirect(then)
        request.current_app = self.name
        context = {
            **self.each_context(request),
            "title": "Log in",
            "app_path": request.get_full_path(),
            "username": request.user.get_username(),
            "provider_name": settings.OIDC_NAME,
            "reason": said(request) if request.method == "GET" else "",
            REDIRECT_FIELD_NAME: then,
            **(extra_context or {}),
        }
        page = SignIn.as_view(extra_context=context, authentication_form=SignInForm, template_name="admin/login.html")
        return page(request)

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().logout(request, {"provider_name": settings.OIDC_NAME, **(extra_context or {})})

    def password_change_done(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The stock page says "changed" to whoever asks. Ours says so under Security, once."""
        return redirect("admin:security")

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The organisations one belongs to, and for installation staff all of them, a page at a time."""
        from routing_admin.home import cards_page

        context = {
            **self.each_context(request),
            "title": self.index_title,
            "cards": cards_page(request),
            "app_list": self.get_app_list(request),
            **(extra_context or {}),
        }
        return render(request, "admin/index.html", context)
