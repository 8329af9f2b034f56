"""The wheel `routing-engine`: installs into an empty environment, needs nothing, and decides."""

import ensurepip
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

from tests.paths import ROOT

PROGRAM = """
from importlib.metadata import requires
from routes.engine import Engine, RequestContext, Route
print([line for line in requires("routing-engine") or [] if "extra ==" not in line])
route = Route.from_dict({"id": "00000000-0000-7000-8000-000000000001", "name": "r", "priority": 1, "enabled": True,
    "when": {"model_in": ["gpt-4o"]}, "then": {"target_model": "gpt-4o-mini"}})
print(Engine([route]).decide(RequestContext("gpt-4o")).target_model)
"""


def test_the_wheel_installs_into_an_empty_environment_and_decides(tmp_path: Path) -> None:
    build = "import sys, hatchling.build; print(hatchling.build.build_wheel(sys.argv[1]))"
    made = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    wheel = tmp_path / made.stdout.strip().splitlines()[-1]
    with zipfile.ZipFile(wheel) as archive:
        packages = {name.split("/")[0] + "/" + name.split("/")[1] for name in archive.namelist()}
        assert "routes/gateway/example.toml" in archive.namelist()
    wanted = {"routes/__init__.py", "routes/engine", "routes/gateway"}
    assert {name for name in packages if name.startswith("routes/")} == wanted
    home = tmp_path / "empty"
    venv.create(home)
    python = home / "bin" / "python"
    # Pip runs as well from the wheel that it would be installed from, which takes longer than all else here.
    wheels = sysconfig.get_config_var("WHEEL_PKG_DIR") or Path(ensurepip.__file__).parent / "_bundled"
    [pip] = Path(wheels).glob("pip-*.whl")
    install = [str(python), f"{pip}/pip", "install", "-q", "--no-index", "--disable-pip-version-check", str(wheel)]
    subprocess.run(install, check=True, cwd=tmp_path)
    ran = subprocess.run([str(python), "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.stdout.split("\n")[:2] == ["[]", "gpt-4o-mini"], ran.stderr
    # The gateway beside it needs more, and says so.
    told = subprocess.run(
        [str(python), "-m", "routes.gateway"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (told.returncode, told.stderr.strip()) == (1, "The gateway needs more: pip install routing-engine[gateway]")


def test_beside_the_old_distribution_of_the_same_name_the_import_says_what_to_do(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "routes" / "engine", tmp_path / "routes" / "engine")
    (tmp_path / "routes" / "__init__.py").write_text("class Mapper: pass\n")
    run = subprocess.run(
        [sys.executable, "-c", "import routes.engine"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode != 0
    assert "pip uninstall Routes" in run.stderr
