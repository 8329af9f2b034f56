"""All settings, read once from the environment (and from `.env` beside manage.py).

What must be chosen has no default: its absence stops the start with its name. `DEBUG=true` is for one's own machine and
fills in the rest; without it the application refuses to start half configured.
"""

import os
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured
from django.utils.csp import CSP

# Before NumPy is loaded: the threads of its matrix products wait by spinning, which on a busy machine takes ten times as
# long as one thread alone.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
if dotenv := env.str("DOTENV", default=str(BASE_DIR / ".env")):
    environ.Env.read_env(dotenv)  # The real environment wins over the file.

DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY")
#: Numbered secrets under which API keys are stored as HMACs: `1=first,2=second`. New keys take the highest number; an
#: old number stays until no key uses it.
API_KEY_PEPPERS = {int(number): secret.encode() for number, secret in env.dict("API_KEY_PEPPERS").items()}

if DEBUG:
    DATA_DIR = Path(env.str("DATA_DIR", default=str(BASE_DIR / ".data")))
    DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
    DATABASE = env.db_url("DATABASE_URL", default=f"sqlite:///{DATA_DIR / 'db.sqlite3'}")
    AUDIT_ORIGIN = env.str("AUDIT_ORIGIN", default="localhost")
    AUDIT_SIGNER = env.str("AUDIT_SIGNER", default="worker")
    AUDIT_SIGNER_DIR = env.str("AUDIT_SIGNER_DIR", default=str(DATA_DIR / "audit-signer"))
else:
    ALLOWED_HOSTS = env.list("ALLOWED_HOSTS")
    DATABASE = env.db_url("DATABASE_URL")
    #: The host name that every audit log of this installation carries. Chosen once; kept in each log's head.
    AUDIT_ORIGIN = env.str("AUDIT_ORIGIN")
    #: Who signs checkpoints of the audit logs: `apart`, `manage.py audit_sign` as a service of its own, or `worker`.
    AUDIT_SIGNER = env.str("AUDIT_SIGNER", default="apart")
    #: Where the signer keeps its keys and what it signed. No other process reads it.
    AUDIT_SIGNER_DIR = env.str("AUDIT_SIGNER_DIR", default="")

if AUDIT_SIGNER not in ("worker", "apart"):
    raise ImproperlyConfigured(f"AUDIT_SIGNER is `worker` or `apart`, not {AUDIT_SIGNER!r}.")
if AUDIT_SIGNER == "worker" and not AUDIT_SIGNER_DIR:
    raise ImproperlyConfigured("AUDIT_SIGNER=worker needs AUDIT_SIGNER_DIR, a folder that only the worker reads.")

ROOT_URLCONF = "routing_admin.urls"
WSGI_APPLICATION = "routing_admin.wsgi.application"

INSTALLED_APPS = [
    "routing_admin.apps.RoutingAdminConfig",
    "routing_admin.apps.SiteConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "axes",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_filters",
    "audit.apps.AuditConfig",
    "routes.apps.RoutesConfig",
    "plans.apps.PlansConfig",
    "routing_admin.signin.apps.SignInConfig",
]

MIDDLEWARE = [
    "routing_admin.middleware.request_id",
    "routing_admin.observed.observed",
    "routing_admin.health.health",
    "routing_admin.metrics.page.metrics",
    "routing_admin.throttle.throttle",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "routing_admin.throttle.throttle_sign_ins",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "routing_admin.signin.middleware.second_factor",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
    "routing_admin.refusals.Busy",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.csp",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "routing_admin.context.shell",
            ],
        },
    },
]

# --- Database -------------------------------------------------------------------------------------------------------

DATABASE["OPTIONS"] = dict(DATABASE.get("OPTIONS", {}))
if DATABASE["ENGINE"] == "django.db.backends.sqlite3":
    # IMMEDIATE takes the write lock at BEGIN and waits for it; DEFERRED fails at once when two read-then-write meet.
    DATABASE["OPTIONS"] |= {
        "transaction_mode": "IMMEDIATE",
        "timeout": 5,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
else:
    DATABASE["OPTIONS"].setdefault("connect_timeout", 5)
    DATABASE["CONN_HEALTH_CHECKS"] = True
    if DATABASE["ENGINE"] == "django.db.backends.postgresql":
        DATABASE["ENGINE"] = "routing_admin.postgresql"
        # Who waits for longer is told to try again: for another writer of the same organisation, or for one statement.
        # The last one ends a process that hangs and keeps others waiting. manage.py takes as long as it takes.
        waits = {
            "lock_timeout": env.int("LOCK_TIMEOUT_SECONDS", default=5),
            "statement_timeout": env.int("STATEMENT_TIMEOUT_SECONDS", default=30),
            "idle_in_transaction_session_timeout": env.int("IDLE_TRANSACTION_TIMEOUT_SECONDS", default=60),
        }
        if min(waits.values()) < 0:
            raise ImproperlyConfigured("Timeouts of the database are seconds, and 0 for none")
        given = DATABASE["OPTIONS"].get("options", "")
        own = [f"-c {name}={1_000 * seconds}" for name, seconds in waits.items() if seconds]
        # A pool in front of the database (PgBouncer) refuses options: with all three 0 none are sent.
        if own:
            DATABASE["OPTIONS"]["options"] = " ".join([*own, given]).strip()
#: Seconds for which a thread keeps its connection. To open one takes longer than most calls of the API, also on SQLite.
DATABASE["CONN_MAX_AGE"] = env.int("CONN_MAX_AGE", default=60)
if env.str("TEST_DATABASE_NAME", default=""):
    # Tests with threads need a file: SQLite in memory answers a second connection "table is locked".
    DATABASE["TEST"] = {"NAME": env.str("TEST_DATABASE_NAME")}
DATABASES = {"default": DATABASE}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- People ---------------------------------------------------------------------------------------------------------

AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "routing_admin.signin.backend.PasswordBackend",
    "routing_admin.signin.backend.ProviderBackend",
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LOGIN_URL = "admin:login"
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 1  # hour
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_ENABLED = env.bool("AXES_ENABLED", default=True)
AXES_USERNAME_CALLABLE = "routing_admin.signin.guesses.counted_name"
#: Behind a proxy everybody would have its address, and whoever guesses at a name would lock its owner out.
AXES_CLIENT_IP_CALLABLE = "routing_admin.addresses.client_address"
#: Else each attempt during the lock, also with the right password, would begin it anew.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_CALLABLE = "routing_admin.signin.views.locked"
#: The library's own pages would unlock people and delete what happened without an audit entry.
AXES_ENABLE_ADMIN = False
#: Not kept of a failed attempt, beside the password.
AXES_SENSITIVE_PARAMETERS = [
    "username",
    "ip_address",
    "code",
    "renew-code",
    "remove-code",
    "connect-code",
    "connect-password",
    "new_password1",
    "new_password2",
]
#: What an authenticator app calls this installation.
OTP_TOTP_ISSUER = f"Routing Admin {AUDIT_ORIGIN}"
#: Recovery codes of 79 bits need no wait after a wrong one: it would keep their owner out, whose app others guess at.
OTP_STATIC_THROTTLE_FACTOR = 0
#: A session ends after so long without a request, and so long after its sign-in whatever was done since.
SESSION_IDLE_SECONDS = env.int("SESSION_IDLE_SECONDS", default=3_600)
SESSION_ABSOLUTE_SECONDS = env.int("SESSION_ABSOLUTE_SECONDS", default=12 * 3_600)
if not 60 <= SESSION_IDLE_SECONDS <= SESSION_ABSOLUTE_SECONDS:
    raise ImproperlyConfigured("SESSION_IDLE_SECONDS is 60 or more, and no more than SESSION_ABSOLUTE_SECONDS")
SESSION_COOKIE_AGE = SESSION_IDLE_SECONDS
SESSION_ENGINE = "routing_admin.signin.store"
#: Whoever signs in with a password must have a second factor. An OpenID provider asks for its own.
REQUIRE_SECOND_FACTOR = env.bool("REQUIRE_SECOND_FACTOR", default=False)

#: An OpenID provider that signs people in: all four, or none of them.
OIDC_ISSUER = env.str("OIDC_ISSUER", default="")
OIDC_CLIENT_ID = env.str("OIDC_CLIENT_ID", default="")
OIDC_CLIENT_SECRET = env.str("OIDC_CLIENT_SECRET", default="")
OIDC_NAME = env.str("OIDC_NAME", default="")
#: Trust the provider with who people are: who has a verified e-mail of exactly one person here is that person.
OIDC_CONNECT_BY_EMAIL = env.bool("OIDC_CONNECT_BY_EMAIL", default=False)
#: Whom nobody here knows becomes a new person, who belongs to no organisation yet.
OIDC_CREATE_PEOPLE = env.bool("OIDC_CREATE_PEOPLE", default=False)
_oidc = {
    "OIDC_ISSUER": OIDC_ISSUER,
    "OIDC_CLIENT_ID": OIDC_CLIENT_ID,
    "OIDC_CLIENT_SECRET": OIDC_CLIENT_SECRET,
    "OIDC_NAME": OIDC_NAME,
}
_missing = [name for name, value in _oidc.items() if not value]
if 0 < len(_missing) < len(_oidc):
    raise ImproperlyConfigured(f"Sign-in by OpenID is half configured: set {', '.join(_missing)} too, or none of them")
if OIDC_ISSUER and not DEBUG and not OIDC_ISSUER.startswith("https://"):
    raise ImproperlyConfigured("OIDC_ISSUER must begin with https://")

# --- What browsers are told -----------------------------------------------------------------------------------------

SECURE_CSP = {
    "default-src": [CSP.NONE],
    "script-src": [CSP.SELF, CSP.NONCE],
    "style-src": [CSP.SELF, CSP.NONCE],
    "img-src": [CSP.SELF, "data:"],
    "font-src": [CSP.SELF],
    "connect-src": [CSP.SELF],
    "form-action": [CSP.SELF],
    "base-uri": [CSP.NONE],
    "frame-ancestors": [CSP.NONE],
}
X_FRAME_OPTIONS = "DENY"
CSRF_FAILURE_VIEW = "routing_admin.refusals.wrong_token"
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
if not DEBUG:
    # TLS_TERMINATED_BY_PROXY: set it where a proxy in front removes TLS *and* overwrites X-Forwarded-Proto.
    if env.bool("TLS_TERMINATED_BY_PROXY", default=False):
        SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=True)
    SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", default=31_536_000)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = env.bool("SECURE_HSTS_INCLUDE_SUBDOMAINS", default=True)
    SECURE_HSTS_PRELOAD = env.bool("SECURE_HSTS_PRELOAD", default=True)
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

# --- Files, language, time ------------------------------------------------------------------------------------------

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
#: Where request logs lie as Parquet, a folder for each organisation by its id. The others have theirs in the database.
LOG_DATASETS = env.str("LOG_DATASETS", default="")
STATIC_ROOT = Path(env.str("STATIC_ROOT", default=str(BASE_DIR / ".data" / "static")))
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": (
            "django.contrib.staticfiles.storage.StaticFilesStorage"
            if DEBUG
            else "whitenoise.storage.CompressedManifestStaticFilesStorage"
        )
    },
}
WHITENOISE_USE_FINDERS = DEBUG
if DEBUG:
    STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # whitenoise warns about a missing folder
LANGUAGE_CODE = "en-us"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"
DATA_UPLOAD_MAX_MEMORY_SIZE = 10 * 1024 * 1024
# Of a service with all its 500 paths, whose form sends up to eight fields for each.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 5_000

# --- API ------------------------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    # Named here as strings, because `audit` and `plans` may not import what composes them.
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "routing_admin.rest.authentication.ApiKeyAuthentication",
        "routing_admin.rest.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["routing_admin.rest.permissions.IsGranted"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["routing_admin.rest.parsers.StrictJSONParser"],
    "DEFAULT_PAGINATION_CLASS": "routing_admin.rest.pagination.Pages",
    "DEFAULT_FILTER_BACKENDS": ["routing_admin.rest.filters.Filters", "routing_admin.rest.filters.Search"],
    "URL_FORMAT_OVERRIDE": None,
    "EXCEPTION_HANDLER": "routing_admin.errors.problem",
    # What is wrong with an object as a whole stands under this name: one that no member can have, because bodies with
    # U+0000 are refused.
    "NON_FIELD_ERRORS_KEY": "\0",
    "UNAUTHENTICATED_USER": None,
    "DEFAULT_SCHEMA_CLASS": "routing_admin.rest.schema.Operations",
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "routing_admin.rest.negotiation.Negotiation",
}

SPECTACULAR_SETTINGS = {
    "OAS_VERSION": "3.1.0",
    "TITLE": "Routing Admin",
    "VERSION": "1",
    "DESCRIPTION": "Which model or upstream serves a request, per organisation. Conventions and examples: /api/docs/.",
    "SCHEMA_PATH_PREFIX": "/api/v1/",
    "SORT_OPERATIONS": False,
    "POSTPROCESSING_HOOKS": [],
}

#: Calls of the API a minute: with one key or session, from one address, and with keys that are none from one address.
#: Fifty gateways that share a key and poll twice a second make 6,000.
API_RATE_CREDENTIAL = env.int("API_RATE_CREDENTIAL", default=6_000)
API_RATE_ADDRESS = env.int("API_RATE_ADDRESS", default=12_000)
#: With a gateway's key, which is not counted by its address: it asks once or twice for each request to what is placed.
API_RATE_GATEWAY = env.int("API_RATE_GATEWAY", default=600_000)
API_RATE_GUESSES = env.int("API_RATE_GUESSES", default=60)
#: Sign-ins at the OpenID provider that are begun or ended from one address in a minute.
SIGN_IN_RATE = env.int("SIGN_IN_RATE", default=60)
#: Sign-ins by password or code that fail from one address in a minute, whatever the names: a lock-out counts one name's.
SIGN_IN_FAILURE_RATE = env.int("SIGN_IN_FAILURE_RATE", default=20)
#: Names of accounts that one person asks for in an hour, to give them roles: else a dry run tells who has an account.
MEMBER_RATE = env.int("MEMBER_RATE", default=60)
#: How many proxies of one's own stand in front, each of which appends to X-Forwarded-For.
NUM_PROXIES = env.int("NUM_PROXIES", default=0)
#: Where calls are counted. Without it each process counts for itself.
CACHES = {
    "default": env.cache_url("CACHE_URL", default="locmemcache://?max_entries=100000"),
    # What people are counted by who are known: whoever is not, can fill the other one until counters fall out of it.
    "people": env.cache_url("CACHE_URL", default="locmemcache://people?max_entries=100000"),
}

# --- What operators see ---------------------------------------------------------------------------------------------

#: With it /metrics answers whoever sends it as a bearer's token; without it, whoever asks on this machine, not by a proxy.
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")
if METRICS_TOKEN and len(METRICS_TOKEN) < 32:
    raise ImproperlyConfigured("METRICS_TOKEN can be guessed: give it 32 characters or more")
if folder := env.str("PROMETHEUS_MULTIPROC_DIR", default=""):
    Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
else:
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)  # the library would take "" for a folder

LOG_LEVEL = env.str("LOG_LEVEL", default="INFO").upper()
if LOG_LEVEL not in (_LEVELS := ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")):
    raise ImproperlyConfigured(f"LOG_LEVEL is one of {', '.join(_LEVELS)}, not {LOG_LEVEL!r}")
_NOWHERE = {"handlers": ["nowhere"], "propagate": False}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"lines": {"()": f"routing_admin.logs.format.{'console' if DEBUG else 'json_lines'}"}},
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "lines"},
        "nowhere": {"class": "logging.NullHandler"},
    },
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        # Its lines hide both name and address; `routing_admin.signin.guesses` has lines of its own.
        "axes": {"level": "ERROR"},
        # Below that Django tells every statement, with its values.
        "django": {"handlers": [], "propagate": True, "level": "INFO" if LOG_LEVEL == "DEBUG" else LOG_LEVEL},
        # `routing_admin.observed` has a line for each request, without what the caller wrote into path and host.
        "django.request": _NOWHERE,
        "django.security": _NOWHERE,
        "django.server": _NOWHERE,
        # The server gives its loggers a form of its own before it loads the application.
        "_granian": {"handlers": [], "propagate": True},
        "granian.access": {"handlers": [], "propagate": True},
    },
}
