"""Runs the tests under other packages than those that constraints.txt pins (docs/packages.md).

    .venv/bin/python .ci/packages.py compat [oldest | newest]
    .venv-newest/bin/python .ci/packages.py newest
    PYTHON .ci/packages.py installed

Exits with 1 if a test fails.  Needs `packaging`, and `tomli` on Python 3.10.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "constraints.txt"
# The tests that run code of transformers: models and their caches, the reader, the lm-eval harness, stored states.
FOLDERS = ("tests/models", "tests/engine", "tests/harness", "tests/store")
# A release of transformers allows only some releases of these.
FOLLOWERS = ("huggingface-hub", "tokenizers")


def read_project() -> dict:
    """pyproject.toml as a dict."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def read_pins(text: str, environment: dict[str, str] | None = None) -> dict[str, Version]:
    """The pins `name==version` of a constraints file whose markers hold: canonical name -> version.

    `environment` replaces entries of the running Python's marker environment.  Raises ValueError for two versions of
    one name, InvalidRequirement for a line that is no requirement.
    """
    pins: dict[str, Version] = {}
    for line in text.splitlines():
        content = line.partition("#")[0].strip()
        if not content:
            continue
        requirement = Requirement(content)
        if requirement.marker is not None and not requirement.marker.evaluate(environment):
            continue
        (specifier,) = requirement.specifier
        name = canonicalize_name(requirement.name)
        if name in pins:
            raise ValueError(f"{name} is pinned twice: {pins[name]} and {specifier.version}")
        pins[name] = Version(specifier.version)
    return pins


def requirements_of(project: dict, extras: tuple[str, ...]) -> list[Requirement]:
    """What the project requires with these extras; an extra that names another one (`reread[eval]`) is expanded."""
    own, optional = canonicalize_name(project["project"]["name"]), project["project"]["optional-dependencies"]
    todo, seen = list(extras), set()
    found = [Requirement(text) for text in project["project"]["dependencies"]]
    while todo:
        extra = todo.pop()
        if extra in seen:
            continue
        seen.add(extra)
        for requirement in map(Requirement, optional[extra]):
            if canonicalize_name(requirement.name) == own:
                todo.extend(requirement.extras)
            else:
                found.append(requirement)
    return found


def last_series(bound: str) -> tuple[int, ...]:
    """The last series of releases below an exclusive bound: 5.25 -> (5, 24), 6 -> (5,)."""
    release = list(Version(bound).release)
    while release and release[-1] == 0:
        release.pop()
    release[-1] -= 1
    return tuple(release)


def transformers_ends(project: dict, pins: dict[str, Version]) -> dict[str, str]:
    """The oldest and the newest transformers that pyproject's bounds allow, as requirements for pip.

    The newest is the lock's pin if that is of the last series below the bound: a release of tomorrow must not change
    what CI runs.  Otherwise it is the newest release within the bounds.
    """
    (ours,) = (r for r in requirements_of(project, ()) if r.name == "transformers")
    (lower,) = (s.version for s in ours.specifier if s.operator == ">=")
    (upper,) = (s.version for s in ours.specifier if s.operator == "<")
    series, pin = last_series(upper), pins.get("transformers")
    newest = f"transformers=={pin}" if pin and pin.release[: len(series)] == series else str(ours)
    return {"oldest": f"transformers=={lower}", "newest": newest}


def pins_beside_transformers(end: str, project: dict, pins: dict[str, Version]) -> dict[str, Version]:
    """The versions of all other packages under one end: the lock's, but where that transformers does not allow them.

    For the oldest, [tool.reread.compat] of pyproject.toml names the exceptions.  For a newest that the lock does not
    pin yet, pip chooses the packages of FOLLOWERS.
    """
    others = {name: version for name, version in pins.items() if name != "transformers"}
    if end == "oldest":
        return others | read_pins("\n".join(project["tool"]["reread"]["compat"]["oldest"]))
    if transformers_ends(project, pins)["newest"] == f"transformers=={pins['transformers']}":
        return others
    return {name: version for name, version in others.items() if name not in FOLLOWERS}


def without_upper_bounds(requirement: Requirement) -> Requirement:
    """The requirement with only its lower bounds and exclusions."""
    free = Requirement(str(requirement))
    free.specifier = SpecifierSet(",".join(str(s) for s in requirement.specifier if s.operator in (">=", ">", "!=")))
    return free


def installed_here() -> dict[str, str]:
    """What this interpreter finds installed: canonical name -> version, the first on sys.path; reread is left out."""
    found: dict[str, str] = {}
    for distribution in distributions():
        found.setdefault(canonicalize_name(distribution.metadata["Name"]), distribution.version)
    found.pop("reread", None)
    return found


def installed(python: str) -> dict[str, Version]:
    """What another interpreter finds installed: canonical name -> version, reread left out."""
    command = [python, __file__, "installed"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return {name: Version(version) for name, version in (line.split("==") for line in lines)}


def differences(pins: dict[str, Version], there: dict[str, Version]) -> list[str]:
    """One line for each installed package that the lock pins at another version, or does not name.

    A local version label (torch 2.13.0+cpu) is no difference.
    """
    return [
        f"{name}: lock {pins.get(name, 'none')}, here {version}"
        for name, version in sorted(there.items())
        if name not in pins or version.public != pins[name].public
    ]


def layered_venv(folder: Path) -> str:
    """Makes a venv in `folder` that also sees what this interpreter's environment holds; returns its interpreter.

    What is installed into it comes first.  So a second version of one package costs seconds, not a second torch.
    """
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    inner = Path(subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True).stdout.strip())
    outer = dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
    (inner / "base.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in outer))
    return str(python)


def run_tests(python: str, folders: tuple[str, ...]) -> int:
    """pytest on two processes with one thread each; its exit code."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([python, "-m", "pytest", "-q", "-n", "2", *folders], cwd=ROOT, env=environment).returncode


def compat(ends: tuple[str, ...]) -> int:
    """The tests of FOLDERS under each end of the bounds of transformers, in .venv-compat/END; the worst exit code."""
    project, pins = read_project(), read_pins(LOCK.read_text(encoding="utf-8"))
    requirements = transformers_ends(project, pins)
    worst = 0
    for end in ends:
        folder = ROOT / ".venv-compat" / end
        python = layered_venv(folder)
        held = folder / "constraints.txt"
        others = pins_beside_transformers(end, project, pins)
        held.write_text("".join(f"{name}=={version}\n" for name, version in others.items()))
        install = [python, "-m", "pip", "install", "-q", "--upgrade", "-c", str(held), requirements[end]]
        subprocess.run(install, check=True)
        print(f"compat, {end}: {requirements[end]}; other than the lock:", flush=True)
        print("\n".join(differences(pins, installed(python))) or "nothing", flush=True)
        worst = max(worst, run_tests(python, FOLDERS))
    return worst


def newest() -> int:
    """Everything at its newest but what [tool.uv] holds, in this interpreter's environment: the suite's exit code."""
    project = read_project()
    held = Path(sys.prefix) / "constraints.txt"
    held.write_text("".join(f"{line}\n" for line in project["tool"]["uv"]["constraint-dependencies"]))
    wanted = [str(without_upper_bounds(requirement)) for requirement in requirements_of(project, ("dev",))]
    pip = [sys.executable, "-m", "pip", "install", "-q"]
    subprocess.run(
        [*pip, "--upgrade", "--upgrade-strategy", "eager", "-c", held, "pip", "setuptools", *wanted], check=True
    )
    subprocess.run([*pip, "--no-deps", "-e", "."], check=True, cwd=ROOT)
    code = run_tests(sys.executable, ())
    print("Other than the lock:")
    pins = read_pins(LOCK.read_text(encoding="utf-8"))
    print("\n".join(differences(pins, installed(sys.executable))) or "nothing")
    return code


def main(arguments: list[str]) -> int:
    """The command; returns the exit code."""
    if arguments == ["installed"]:
        print("\n".join(f"{name}=={version}" for name, version in sorted(installed_here().items())))
        return 0
    if arguments == ["newest"]:
        return newest()
    if arguments[:1] == ["compat"] and set(arguments[1:]) <= {"oldest", "newest"}:
        return compat(tuple(arguments[1:]) or ("oldest", "newest"))
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
