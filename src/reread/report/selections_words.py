"""Runs of `select-bench` in words: a table per set, window and budget."""

from __future__ import annotations

from reread.report.cells import Record
from reread.report.runs import origin
from reread.report.words import percent, size

SELECTION_COLUMNS = (
    "selection", "documents", "n", "contains", "f1", "to full", "wins, losses", "answered", "right of answered",
    "positions", "state", "read tokens", "seconds read", "seconds per answer",
)  # fmt: skip

WARNING_COLUMNS = (
    "selection", "documents", "n", "wrong", "AUROC, nearest", "AUROC, document", "AUROC, confidence",
    "AUROC of lost answers", "warned", "wrong of warned", "wrong of others", "seconds",
)  # fmt: skip


def selections_says(found: Record) -> str:
    config = found["header"]["config"]
    model = f"`{config['model']}`" + (f" with adapter `{config['adapter']}`" if config["adapter"] else "")
    return (
        f"{origin(found)}: model {model}, strategy `once`, questions with an answer, greedy, at most "
        f"{config['max_new_tokens']} new tokens. `full` is the whole cache; every other line keeps chosen keys and "
        "values and drops the rest before a question is seen.\n\n"
        'In percent [95 % bootstrap interval over documents]: contains, f1 (an answer "not found" counts 0); to full: '
        "paired difference of contains to the whole cache, in points, and questions won and lost; answered: answers "
        'other than "not found"; right of answered: contains among these. Means over documents: positions of each KV '
        "head that are kept; bytes of the state; read tokens: document and, for a second reading, its repetition; "
        "seconds read: reading, scoring, choosing keys. The selections of one reading share a reading that scores for "
        "all of them, and its seconds are whole in each line. Seconds per answer: mean over questions, of which those "
        "of one document are answered together. Where a budget holds the whole document, the answers are those of the "
        "whole cache."
    )


def selections_title(record: Record) -> str:
    return (
        f"`{record['set']}`, window `{record['window']}`, at most {record['budget']:,} document tokens: "
        f"{record['n']:,} questions about {record['documents']:,} documents of {record['tokens']:,.0f} tokens on "
        f"average, {100 * record['shown']:.0f} % with the answer in the text that was shown."
    )


def selection_words(line: Record) -> Record:
    gain, said = line["to full"], line["right of answered"]
    return {
        **line,
        **{name: percent(line[name]) for name in ("contains", "f1", "answered")},
        "to full": "-" if gain is None else percent(gain["contains"]),
        "wins, losses": "-" if gain is None else f"{gain['wins']}, {gain['losses']}",
        "right of answered": "-" if said is None else percent(said),
        "positions": f"{line['positions']:,.0f}",
        "state": size(line["state bytes"]),
        "read tokens": f"{line['read tokens']:,.0f}",
        "seconds read": f"{line['read seconds']:.2f}",
        "seconds per answer": f"{line['answer seconds']:.2f}",
    }


def warnings_title(unit: str) -> str:
    return (
        f"The warning that a state forgot the {unit}s nearest to a question. Nats per token that repeating a {unit} "
        "from the state costs more than from all keys; the nearest three by BM25, weighted by it. A wrong answer does "
        'not contain an accepted one ("not found" is wrong). AUROC [95 % bootstrap interval over documents]: a wrong '
        "answer has the higher loss of the nearest, the higher loss of the document, the lower confidence; of lost "
        "answers: the first of these among the questions that the whole cache answers rightly, and their number. "
        "Warned: answers whose nearest lost more than 1 nat per token. Seconds: of the repetition from the state, and "
        "in the first line of all from all keys; mean over documents."
    )


def warning_words(line: Record) -> Record:
    areas = {"AUROC, nearest": "nearest", "AUROC, document": "document", "AUROC, confidence": "doubt"}
    shares = ("wrong of warned", "wrong of others")
    return {
        **line,
        "wrong": percent(line["wrong"]),
        **{name: _area(line[key]) for name, key in areas.items()},
        "AUROC of lost answers": f"{_area(line['of lost'])}, n = {line['n of lost']:,}",
        "warned": percent(line["warned"]),
        **{name: "-" if line[name] is None else percent(line[name]) for name in shares},
        "seconds": "-" if line["lost seconds"] is None else f"{line['lost seconds']:.2f}",
    }


def _area(found: Record | None) -> str:
    return "-" if found is None else f"{found['mean']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"
