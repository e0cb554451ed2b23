"""Words only: what a model will see.  Importing this package costs no torch."""

from reread.prompting.documents import read_document
from reread.prompting.prompt import TEMPLATES, Cut, Encoded, Part, Prompt, Sample, Template, template, template_for
from reread.prompting.strategies import PREFIXES, STRATEGIES, build, strategy
from reread.prompting.windows import BUDGET, WINDOWS, cut, window_start

__all__ = [
    "BUDGET",
    "PREFIXES",
    "STRATEGIES",
    "TEMPLATES",
    "WINDOWS",
    "Cut",
    "Encoded",
    "Part",
    "Prompt",
    "Sample",
    "Template",
    "build",
    "cut",
    "read_document",
    "strategy",
    "template",
    "template_for",
    "window_start",
]
