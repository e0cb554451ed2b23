"""Words only: what a model will see.  Importing this package costs no torch."""

from reread.prompting.prompt import TEMPLATES, Cut, Encoded, Part, Prompt, Sample, Template, template, template_for
from reread.prompting.strategies import STRATEGIES, build, strategy
from reread.prompting.windows import WINDOWS, cut

__all__ = [
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
    "strategy",
    "template",
    "template_for",
]
