"""Models: load one by name or folder.  A model is anything with `read`, `extend` and `step`."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import Tokenizer

from reread.errors import BadInput

if TYPE_CHECKING:
    pass


def load_tokenizer(source: str | Path = "embedded") -> Tokenizer:
    """The tokenizer of a model folder, or the embedded one.  Raises BadInput."""
    if str(source) == "embedded":
        return Tokenizer.from_file(str(resources.files("reread") / "assets" / "tokenizer" / "tokenizer.json"))
    path = Path(source)
    path = path / "tokenizer.json" if path.is_dir() else path
    if not path.is_file():
        raise BadInput("no tokenizer there", got=str(source), allowed="a folder with tokenizer.json, or 'embedded'")
    return Tokenizer.from_file(str(path))
