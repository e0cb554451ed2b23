"""Words only: what a model will see.  Importing this package costs no torch."""

from reread.prompting.documents import read_document
from reread.prompting.pieces import token_ids
from reread.prompting.prompt import (
    BOS,
    NOT_FOUND,
    TEMPLATES,
    Cut,
    Encoded,
    Part,
    Prompt,
    Sample,
    Template,
    encode_ids,
    encode_parts,
    template,
    template_for,
)
from reread.prompting.published import PUBLISHED, build_published, published_prompt, published_template
from reread.prompting.ranking import BY_MODEL, ModelScore, features, learned_file
from reread.prompting.segment import units
from reread.prompting.strategies import STRATEGIES, Example, Reading, build, once, question_first, strategy
from reread.prompting.tokens import (
    SpecialIds,
    bos_facts,
    decode,
    encoding,
    encodings,
    special_ids,
    with_bos,
    with_special_tokens,
)
from reread.prompting.unasked import build_unasked
from reread.prompting.verbatim import verbatim_span
from reread.prompting.windows import BUDGET, PROBE, WINDOWS, cut, window_start

__all__ = [
    "BOS",
    "BUDGET",
    "BY_MODEL",
    "NOT_FOUND",
    "PROBE",
    "PUBLISHED",
    "STRATEGIES",
    "TEMPLATES",
    "WINDOWS",
    "Cut",
    "Encoded",
    "Example",
    "ModelScore",
    "Part",
    "Prompt",
    "Reading",
    "Sample",
    "SpecialIds",
    "Template",
    "bos_facts",
    "build",
    "build_published",
    "build_unasked",
    "cut",
    "decode",
    "encode_ids",
    "encode_parts",
    "encoding",
    "encodings",
    "features",
    "learned_file",
    "once",
    "published_prompt",
    "published_template",
    "question_first",
    "read_document",
    "special_ids",
    "strategy",
    "template",
    "template_for",
    "token_ids",
    "units",
    "verbatim_span",
    "window_start",
    "with_bos",
    "with_special_tokens",
]
