"""constraints.txt pins what pyproject.toml asks for on every supported Python, and .venv holds those pins."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from reread.config import read_toml

ROOT = Path(__file__).parent.parent
PROJECT = read_toml(ROOT / "pyproject.toml")
LOCK = (ROOT / "constraints.txt").read_text(encoding="utf-8")
LINES = [line for line in LOCK.splitlines() if not line.startswith("#")]
NO_DEPS = [
    line.strip()
    for line in (ROOT / "no-deps.txt").read_text(encoding="utf-8").splitlines()
    if line.strip() and not line.startswith("#")
]
PYTHONS = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["project"]["classifiers"]))
PLATFORMS = {
    "Linux": {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64", "os_name": "posix"},
    "macOS": {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64", "os_name": "posix"},
    "Windows": {"sys_platform": "win32", "platform_system": "Windows", "platform_machine": "AMD64", "os_name": "nt"},
}


@pytest.fixture(scope="module")
def packages():
    """The script behind `make compat` and `make newest`."""
    spec = importlib.util.spec_from_file_location("ci_packages", ROOT / ".ci" / "packages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def environment(python: str, platform: str) -> dict[str, str]:
    return {"python_version": python, "python_full_version": f"{python}.9", **PLATFORMS[platform], "extra": ""}


def every_requirement(packages) -> list[Requirement]:
    """What pyproject.toml asks for: core, every extra, the groups that make installs, the build backend."""
    extras = tuple(PROJECT["project"]["optional-dependencies"])
    groups = [text for group in PROJECT["dependency-groups"].values() for text in group]
    return packages.requirements_of(PROJECT, extras) + [
        Requirement(text) for text in [*groups, *PROJECT["build-system"]["requires"]]
    ]


def test_the_supported_pythons_are_those_of_requires_python():
    assert PYTHONS == ["3.10", "3.11", "3.12", "3.13"]
    assert PROJECT["project"]["requires-python"] == f">={PYTHONS[0]}"


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("python", PYTHONS)
def test_every_requirement_has_a_pin_that_satisfies_it(packages, python, platform):
    where = environment(python, platform)
    pins = packages.read_pins(LOCK, where)
    wanted = [r for r in every_requirement(packages) if r.marker is None or r.marker.evaluate(where)]
    assert len(wanted) > 30
    unpinned = [str(r) for r in wanted if r.name.lower() not in pins]
    assert not unpinned, f"constraints.txt has no pin for {unpinned}: run make lock"
    wrong = [f"{r} but {pins[r.name.lower()]}" for r in wanted if not r.specifier.contains(pins[r.name.lower()])]
    assert not wrong, f"constraints.txt contradicts pyproject.toml: {wrong}: run make lock"


def test_the_lock_holds_pins_alone_in_one_order_and_names_no_place():
    form = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*==[0-9][0-9a-z.]*( ; .+)?")  # no extra, hash, option, URL, local version
    assert [line for line in LINES if not form.fullmatch(line)] == []
    assert not re.search(r"://|@|\\|(^|\s)[/-]", "\n".join(LINES))
    assert [line for line in LOCK.splitlines() if line.startswith("#") and ("/" in line or "--" in line)] == []
    names = [line.partition("==")[0] for line in LINES]
    assert names == sorted(names) and len(LINES) == len(set(LINES))


def test_the_held_pins_are_in_the_lock(packages):
    held = PROJECT["tool"]["uv"]["constraint-dependencies"]
    pins = packages.read_pins(LOCK, environment(PYTHONS[-1], "Linux"))
    assert {name: str(pins[name]) for name in ("torch", "triton")} == dict(line.split("==") for line in held)


def test_the_lock_pins_the_newest_series_of_transformers_that_is_allowed(packages):
    pins = packages.read_pins(LOCK, environment(PYTHONS[-1], "Linux"))
    ends = packages.transformers_ends(PROJECT, pins)
    assert ends["newest"] == f"transformers=={pins['transformers']}", "run make lock UPGRADE=transformers"


def test_packages_without_their_requirements_are_pinned_and_not_in_the_lock():
    assert [line for line in NO_DEPS if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*==[0-9][0-9a-z.]*", line)] == []
    assert {line.partition("==")[0] for line in NO_DEPS}.isdisjoint(line.partition("==")[0] for line in LINES)


@pytest.mark.skipif(Path(sys.prefix).resolve() != (ROOT / ".venv").resolve(), reason="not the project's own .venv")
def test_the_venv_holds_what_the_lock_pins(packages):
    pins = packages.read_pins(LOCK) | packages.read_pins("\n".join(NO_DEPS))
    there = packages.installed(sys.executable)
    assert {"pip", "setuptools", "torch", "transformers"} <= there.keys()
    assert packages.differences(pins, there) == [], "remove .venv and run make test, or run make lock"


@pytest.mark.parametrize(
    ("bound", "series"), [("5.25", (5, 24)), ("6", (5,)), ("6.0", (5,)), ("5.24.3", (5, 24, 2)), ("0.5", (0, 4))]
)
def test_the_last_series_below_a_bound(packages, bound, series):
    assert packages.last_series(bound) == series


@pytest.mark.parametrize(
    ("pin", "newest"),
    [
        ("5.24.0", "transformers==5.24.0"),
        ("5.24.7", "transformers==5.24.7"),
        ("5.23.1", "transformers<5.25,>=5.17"),
        (None, "transformers<5.25,>=5.17"),
    ],
)
def test_the_ends_of_compat_come_from_the_bounds(packages, pin, newest):
    project = {"project": {"name": "reread", "dependencies": ["transformers>=5.17,<5.25"], "optional-dependencies": {}}}
    pins = {"transformers": Version(pin)} if pin else {}
    assert packages.transformers_ends(project, pins) == {"oldest": "transformers==5.17", "newest": newest}


@pytest.mark.parametrize(
    ("end", "pin", "expected"),
    [
        ("oldest", "5.24.0", {"numpy": "2.4.6", "tokenizers": "0.23.3", "huggingface-hub": "1.33.0"}),
        ("newest", "5.24.0", {"numpy": "2.4.6", "tokenizers": "0.23.3", "huggingface-hub": "2.4.0"}),
        ("newest", "5.23.0", {"numpy": "2.4.6"}),
    ],
)
def test_compat_keeps_every_other_pin_that_transformers_allows(packages, end, pin, expected):
    project = {
        "project": {"name": "reread", "dependencies": ["transformers>=5.17,<5.25"], "optional-dependencies": {}},
        "tool": {"reread": {"compat": {"oldest": ["huggingface-hub==1.33.0"]}}},
    }
    lock = f"huggingface-hub==2.4.0\nnumpy==2.4.6\ntokenizers==0.23.3\ntransformers=={pin}"
    others = packages.pins_beside_transformers(end, project, packages.read_pins(lock))
    assert {name: str(version) for name, version in others.items()} == expected


def test_pins_are_read_by_their_markers_and_never_twice(packages):
    text = "# why\nNumpy==2.2.6 ; python_version < '3.11'\nnumpy==2.4.6 ; python_version >= '3.11'\n\nb_c==1  # too\n"
    assert packages.read_pins(text, {"python_version": "3.10"}) == {"numpy": Version("2.2.6"), "b-c": Version("1")}
    assert packages.read_pins(text, {"python_version": "3.13"})["numpy"] == Version("2.4.6")
    with pytest.raises(ValueError, match="numpy"):
        packages.read_pins("numpy==1\nnumpy==2")


def test_differences_leave_out_local_versions_and_name_what_is_not_pinned(packages):
    pins = {name: Version(version) for name, version in {"torch": "2.13.0", "numpy": "2.4.6", "rich": "15"}.items()}
    there = {name: Version(v) for name, v in {"torch": "2.13.0+cpu", "numpy": "2.5.0", "own": "1"}.items()}
    assert packages.differences(pins, there) == ["numpy: lock 2.4.6, here 2.5.0", "own: lock none, here 1"]


def test_newest_drops_upper_bounds_alone(packages):
    free = packages.without_upper_bounds(Requirement("lm-eval>=0.4.13,!=0.4.14,<0.5; python_version > '3'"))
    assert str(free.specifier) == "!=0.4.14,>=0.4.13" and free.marker is not None


@pytest.mark.skipif(Path(sys.prefix).resolve() != (ROOT / ".venv").resolve(), reason="not the project's own .venv")
def test_the_venv_holds_the_packages_without_their_requirements(packages):
    there = packages.installed(sys.executable)
    wanted = packages.read_pins("\n".join(NO_DEPS))
    assert {name: there.get(name) for name in wanted} == wanted, (
        "run make test; tests of smollm2 are skipped without it"
    )
