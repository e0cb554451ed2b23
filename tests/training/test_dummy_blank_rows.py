"""Training rows under a tokenizer with a dummy blank and BOS: begun as prompts are, answers without a blank more."""

import dummy_blanks
import numpy as np

from reread.prompting import build, decode, special_ids, template, token_ids
from reread.training.data import DataConfig, EpisodeRows
from reread.training.episodes import Episode
from reread.training.trainer import text_stream


def test_a_row_begins_as_a_prompt_and_holds_the_answer_as_it_is_written():
    tokenizer = dummy_blanks.llama()
    rows = EpisodeRows(tokenizer, DataConfig(), None)
    episode = Episode(dummy_blanks.LINES[1], (("the rent", "2,450 pounds"),), "field")
    row = rows.row(episode, "once", 128)
    form = template("field")
    prompt = build("once", episode.document, "the rent", form).encode(tokenizer)
    answer = token_ids(" 2,450 pounds\n", tokenizer)
    n = len(prompt.tokens)
    assert row.tokens[:n].tolist() == list(prompt.tokens) and row.tokens[0] == special_ids(tokenizer).bos
    assert row.targets[row.answer > 0].tolist() == answer and np.flatnonzero(row.answer)[0] == n - 1
    assert decode(answer, tokenizer) == form.answer("2,450 pounds")
    assert rows.newline == tokenizer.token_to_id("\n")


def test_texts_of_a_stream_begin_as_texts_of_their_own():
    tokenizer = dummy_blanks.gemma()
    tokenizer.add_special_tokens(["<|end|>"])
    stream = text_stream({"a": dummy_blanks.LINES[:2]}, tokenizer, 8)["a"].tolist()
    end = tokenizer.token_to_id("<|end|>")
    want = [[*tokenizer.encode(line, add_special_tokens=False).ids, end] for line in dummy_blanks.LINES[:2]]
    assert stream == [*want[0], *want[1]]
