"""`make screenshots`: pictures of the main pages of a fresh demo, into this folder, from which the README shows some.

Here, beside what makes them: static/ would be served, and wheels carry only the engine. The same size each time; the
times in them are those of the day.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.browser.conftest import FLAGS
from tests.paths import ROOT

FOLDER = Path(__file__).parent
WIDTH, HEIGHT, LARGEST = 1280, 800, 160_000
#: By name: whose page, below the organisation, and in which theme.
PICTURES = {
    "overview": ("arno", "", "light"),
    "routes": ("edda", "routes/", "light"),
    "editor": ("edda", "routes/{route}/", "light"),
    "plan": ("arno", "plans/{plan}/", "light"),
    "history-dark": ("edda", "history/compare/", "dark"),
    "audit": ("arno", "audit/", "light"),
}


def main() -> int:
    chromium = shutil.which("chromium")
    if chromium is None:
        print("Chromium is not installed; on Debian: apt-get install chromium")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        _settings(Path(folder))
        names = _demo()
        port = _free_port()
        command = [sys.executable, "manage.py", "runserver", "--insecure", "--noreload", str(port)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, cwd=ROOT, **quiet) as server:
            try:
                _wait(port)
                _take(chromium, f"http://127.0.0.1:{port}", names)
            finally:
                server.terminate()
    sizes = {path.name: path.stat().st_size for path in sorted(FOLDER.glob("*.png"))}
    for name, size in sizes.items():
        print(f"{name}: {size // 1000} kB")
    return 1 if max(sizes.values()) > LARGEST else 0


def _settings(folder: Path) -> None:
    os.environ |= {
        "DOTENV": "",
        "DEBUG": "true",
        "SECRET_KEY": "only-for-pictures-" + "x" * 40,
        "API_KEY_PEPPERS": "1=only-for-pictures",
        "DATA_DIR": str(folder),
        "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
        "ALLOWED_HOSTS": "127.0.0.1,testserver",
        "DJANGO_SETTINGS_MODULE": "routing_admin.settings",
        "DJANGO_ALLOW_ASYNC_UNSAFE": "true",  # Playwright has a loop in this thread
    }


def _demo() -> dict[str, Any]:
    """The demo of the first run, with a plan that was applied, and one that waits for approval."""
    import django

    django.setup()
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.db.models import Max

    call_command("migrate", verbosity=0)
    from audit.signing.signer import Signer
    from plans.logs.models import RequestLog
    from plans.runs import services as plans
    from plans.runs.worker import run_next
    from routes.fleet.services import report
    from routes.orgs.models import Organization
    from routing_admin import demo

    demo.install("http://127.0.0.1:8000")
    demo.add_traffic()
    org = Organization.objects.get(slug=demo.SLUG)
    edda, arno = (get_user_model().objects.get(username=name) for name in ("edda", "arno"))
    end = RequestLog.objects.of(org).aggregate(last=Max("ts"))["last"]
    window = {"window_start": end - timedelta(days=7), "window_end": end}

    def plan(name: str, note: str, when: dict[str, Any], model: str) -> Any:
        route = {"name": name, "priority": 120, "when": when, "then": {"target_model": model}}
        made = plans.propose(org, name=name, note=note, routes=[route], by=edda, **window)
        plans.project(made, by=edda)
        run_next()
        made.refresh_from_db()
        return made

    short = {"tag_equals": "support", "input_tokens_lt": 800}
    first = plan("short support questions", "They ask for little.", short, "gpt-4o-mini")
    plans.approve(first, by=arno)
    plans.apply(first, by=arno)
    waiting = plan("code to a smaller model", "Most of it is completion.", {"tag_equals": "code"}, "gpt-4.1-mini")
    version = Organization.objects.get(pk=org.pk).version
    for number in range(3):
        report(
            org, f"edge-{number + 1}", running=version, rejected=None, schema_max=1, engine="0.1.0", extras=["regex"]
        )
    with Signer() as signer:
        signer.round()
    return {"plan": waiting.pk, "route": org.routes.in_order().first().uid}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError("The server does not answer.")


def _take(chromium: str, base: str, names: dict[str, Any]) -> None:
    from playwright.sync_api import sync_playwright

    from routing_admin import demo

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for name, (who, path, scheme) in PICTURES.items():
            context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=scheme)
            context.add_cookies([{"name": "sessionid", "value": _session(who), "url": base}])
            page = context.new_page()
            page.goto(f"{base}/admin/o/{demo.SLUG}/{path.format(**names)}", wait_until="networkidle")
            page.screenshot(path=FOLDER / f"{name}.png", animations="disabled")
            context.close()
        browser.close()


def _session(who: str) -> str:
    from django.contrib.auth import get_user_model
    from django.test import Client

    client = Client()
    client.force_login(get_user_model().objects.get(username=who))
    return client.cookies["sessionid"].value


if __name__ == "__main__":
    sys.exit(main())
