"""Words only: what a model will see.  Importing this package costs no torch."""

from reread.documents.files import read_document
from reread.prompting.asking import is_question, label_in, plain_question
from reread.prompting.pieces import token_ids
from reread.prompting.prompt import (
    BOS,
    NOT_FOUND,
    PARTS,
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
from reread.prompting.segment import check_unit, units
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
from reread.prompting.windows import BUDGET, PROBE, WINDOWS, check_window, cut, cut_parts, window_start

__all__ = [
    "BOS",
    "BUDGET",
    "BY_MODEL",
    "NOT_FOUND",
    "PARTS",
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
    "check_unit",
    "check_window",
    "cut",
    "cut_parts",
    "decode",
    "encode_ids",
    "encode_parts",
    "encoding",
    "encodings",
    "features",
    "is_question",
    "label_in",
    "learned_file",
    "once",
    "plain_question",
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
