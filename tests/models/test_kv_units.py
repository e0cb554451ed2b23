"""Second readings of units: what is repeated, by hand; scores against an eager forward for each repetition, in fp64."""

import pytest
import torch
from kv_models import EAGER, full, ids, model_of, output_norm
from raising import containing, refused

from reread.errors import BadInput, UnknownName
from reread.models.bounded_reading import read_bounded
from reread.models.kept_reading import read_selected
from reread.models.kv_attention import scored_layers
from reread.models.kv_choice import choose
from reread.models.kv_scores import Cue, plain_reading, read_and_score, second_reading
from reread.models.kv_selection import RereadSettings, selection
from reread.models.kv_units import Predictions, repeat_chunks, repeat_passes, tokens_of
from reread.prompting.token_units import TokenUnit

CLOSE = {"rtol": 1e-4, "atol": 1e-6}
ENDS = {"paragraph": 10, "sentence": 4}  # units of so many tokens


def units_of(tokens, unit, overlap):
    size, n = ENDS[unit], len(tokens)
    return [TokenUnit(max(0, i - int(overlap * size)), i, min(i + size, n)) for i in range(0, n, size)]


CUE = Cue((5, 6, 7), (8, 9), (10,), tail=3, units=units_of)


def settings(text):
    return selection(f"reread(tokens=8, {text})").settings


def shown(passes):
    return [(before[0].tolist(), piece[0].tolist()) for before, piece in passes]


def by_hand(starts, T, copies=1):
    """(cue, tokens) of each [start, end), of a document 0, 1, 2, ..."""
    found = []
    for start, end in starts:
        before = [5, 6, 7] if not start else [8, 9, *range(max(0, start - 3), start), 10]
        found.append((before, [*range(start, min(end, T))] * copies))
    return found


TEN, FOUR = [(0, 10), (10, 20), (20, 22)], [(i, i + 4) for i in range(0, 22, 4)]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("levels=document", by_hand([(0, 22)], 22)),
        ("levels=document, times=2", by_hand([(0, 22)], 22, 2)),
        ("chunk=9", by_hand([(0, 9), (9, 18), (18, 22)], 22)),
        ("levels=paragraph", by_hand(TEN, 22)),
        ("levels=paragraph+sentence, times=1+2", by_hand(TEN, 22) + by_hand(FOUR, 22, 2)),
        ("levels=sentence+document, times=2+1", by_hand(FOUR, 22, 2) + by_hand([(0, 22)], 22)),
        ("levels=document+paragraph, overlap=0.3", by_hand([(0, 22), (0, 10), (7, 20), (17, 22)], 22)),
        ("levels=paragraph, chunk=6",
         by_hand([(0, 6), (6, 10), (10, 16), (16, 20), (20, 22)], 22)),
        ("levels=sentence, times=3, chunk=6", by_hand([(i, i + 2) for i in range(0, 22, 2)], 22, 3)),
        # half of three paragraphs is two (the first two), of six sentences three
        ("levels=paragraph+sentence, times=2+2, by=first", by_hand(TEN[:2], 22, 2) + by_hand(TEN[2:], 22)
         + by_hand(FOUR[:3], 22, 2)),
        ("levels=document+sentence, by=last, best=0.17", by_hand([(0, 22), (20, 22)], 22)),
        ("levels=document+paragraph, by=loss, best=0.1", by_hand([(0, 22), (10, 20)], 22)),
        ("levels=document+paragraph, by=entropy, best=0.1", by_hand([(0, 22), (20, 22)], 22)),
    ],
)  # fmt: skip
def test_what_is_repeated(text, want):
    model, tokens = model_of("llama"), torch.arange(22)[None]
    losses = torch.ones(22)
    losses[10:20] = 2.0  # of the second paragraph
    seen = Predictions(losses, torch.arange(22.0))
    passes = repeat_passes(model, tokens, CUE, settings(text), predictions=seen)
    assert shown(passes) == want
    assert tokens_of(passes) == sum(len(before) + len(piece) for before, piece in want)


def test_without_levels_the_document_is_repeated_as_before():
    model, tokens = model_of("llama"), ids(33)
    assert shown(repeat_passes(model, tokens, CUE, settings("chunk=16"))) == shown(
        repeat_chunks(model, tokens, CUE, 16)
    )
    assert settings("levels=document").flat and not settings("levels=document, times=2").flat
    assert str(selection("reread(tokens=8, levels=document, overlap=0, by=all)")) == "reread(tokens=8)"


def naive(model, tokens, passes, plus):
    """Largest attention of repeated tokens, from one forward of document, cue and piece for every pass."""
    T, best = tokens.shape[1], {}
    for before, piece in passes:
        seen = full(model, torch.cat((tokens, before, piece), dim=1))
        begin = T + before.shape[1]
        for layer in scored_layers(model):
            a, keys = seen.attention[layer], seen.keys[layer]
            G = len(a) // len(keys)
            made = torch.zeros(len(keys), T, dtype=torch.float64)
            for k in range(len(keys)):
                for h in range(k * G, (k + 1) * G):
                    weight = a[h, begin:, :T].clone()
                    if plus:
                        part, values = seen.modules[layer], seen.values[layer]
                        lengths = torch.tensor([output_norm(part, len(a), h, values[k, i]) for i in range(T)])
                        weight *= lengths / seen.inputs[layer][begin:].norm(dim=-1, keepdim=True)
                    made[k] = torch.maximum(made[k], weight.amax(dim=0))
            best[layer] = made if layer not in best else torch.maximum(best[layer], made)
    return best


@torch.no_grad()
@pytest.mark.parametrize("plus", [False, True])
@pytest.mark.parametrize("family", EAGER)
def test_scores_are_the_maximum_over_all_repetitions(family, plus):
    model, tokens = model_of(family), ids(22)
    text = f"levels=document+paragraph+sentence, times=1+1+2, overlap=0.3, plus={plus}"
    _, state = model.read(tokens)
    passes = repeat_passes(model, tokens, CUE, settings(text))
    found = second_reading(model, tokens, state, CUE, plus=plus, passes=passes)
    want = naive(model, tokens, passes, plus)
    for layer, expected in want.items():
        torch.testing.assert_close(found[layer], expected, **CLOSE)
    flat = second_reading(model, tokens, state, CUE, plus=plus)
    assert all(bool((found[layer] >= flat[layer] - 1e-9).all()) for layer in flat)
    assert any(bool((found[layer] > flat[layer] + 1e-3).any()) for layer in flat)
    chosen = selection(f"reread(tokens=8, {text})")
    read = read_selected(model, tokens, chosen, CUE)
    kept = choose(want, chosen, plain_reading(model, tokens).sizes)
    (row,) = read.state.tensors
    for layer, heads in kept.items():
        assert row[f"kept.{layer}.positions"].tolist() == torch.cat(heads).tolist()
    assert read.read_tokens == 22 + tokens_of(passes)


@torch.no_grad()
def test_units_are_chosen_by_the_first_reading():
    model, tokens = model_of("llama"), ids(22)
    for name in ("loss", "entropy"):
        chosen = selection(f"reread(tokens=8, levels=document+sentence, by={name}, best=0.3)")
        found = read_and_score(model, tokens, [chosen], CUE)
        each = found.predictions.of(name)
        means = sorted((-float(each[i : i + 4].mean()), i) for i in range(0, 22, 4))[:2]
        passes = repeat_passes(model, tokens, CUE, chosen.settings, predictions=found.predictions)
        assert [piece[0].tolist() for _, piece in passes[1:]] == [
            tokens[0, i : i + 4].tolist() for i in sorted(i for _, i in means)
        ]
        want = second_reading(model, tokens, found.state, CUE, passes=passes)
        for layer, x in want.items():
            torch.testing.assert_close(found.scores[str(chosen)][layer], x)


@torch.no_grad()
def test_pieces_of_a_document_are_repeated_in_units():
    model, tokens = model_of("llama"), ids(22)
    one = selection("reread(tokens=8, levels=paragraph+sentence, read=30)")
    whole = selection("reread(tokens=8, levels=paragraph+sentence)")
    found, want = read_bounded(model, tokens, one, CUE), read_selected(model, tokens, whole, CUE)
    for name, x in want.state.tensors[0].items():
        torch.testing.assert_close(found.state.tensors[0][name], x, **CLOSE)
    assert found.read_tokens == want.read_tokens
    passes = repeat_passes(model, torch.arange(22)[None], CUE, settings("levels=paragraph, overlap=0.3"), begin=8)
    assert shown(passes) == by_hand([(8, 18), (15, 22)], 22)
    pieces = selection("reread(tokens=8, levels=sentence, read=9)")
    made = read_bounded(model, tokens, pieces, CUE)
    assert made.read_tokens == 22 + sum(
        tokens_of(repeat_passes(model, tokens[:, : i + 9], CUE, pieces.settings, begin=i)) for i in (0, 9, 18)
    )


def test_what_cannot_be_repeated_is_refused():
    for text, kind, got in (
        ("levels=document+chapter", UnknownName, "chapter"),
        ("levels=window(0)", UnknownName, "window(0)"),
        ("levels=sentence+sentence", BadInput, "sentence+sentence"),
        ("levels=document+sentence, times=1", BadInput, "document+sentence; 1"),
        ("levels=document+sentence, times=1+0", BadInput, "document+sentence; 1+0"),
        ("times=1+2", BadInput, "document; 1+2"),
        ("levels=sentence, overlap=0.31", BadInput, 0.31),
        ("levels=sentence, overlap=-0.1", BadInput, -0.1),
        ("overlap=0.1", BadInput, "overlap=0.1"),
        ("levels=sentence, by=bm25", UnknownName, "bm25"),
        ("levels=sentence, by=loss, best=0", BadInput, 0.0),
        ("levels=sentence, by=loss, best=1.1", BadInput, 1.1),
        ("levels=sentence, best=0.2", BadInput, "best=0.2"),
        ("levels=sentence, by=loss, read=9", BadInput, "by=loss, read=9"),
    ):
        with refused(kind, got=got):
            selection(f"reread(tokens=8, {text})")
    with refused(UnknownName, got="levels"):
        selection("window(tokens=8, levels=sentence)")
    model, tokens = model_of("llama"), ids(9)
    with refused(BadInput, got="sentence", allowed="document"):
        repeat_passes(model, tokens, Cue((5,)), settings("levels=sentence"))
    with refused(BadInput, got="3 copies, chunk=2"):
        repeat_passes(model, tokens, CUE, settings("levels=sentence, times=3, chunk=2"))
    with refused(BadInput, got="by=loss"):
        repeat_passes(model, tokens, CUE, settings("levels=sentence, by=loss"))
    with refused(BadInput, allowed=containing("12")):
        repeat_passes(model_of("gpt2", n_positions=12), tokens, CUE, settings("levels=sentence"))


def test_settings_of_one_repetition_are_shared():
    one, two = settings("levels=sentence, heads=equal"), selection("reread(share=0.5, levels=sentence)").settings
    assert one.repetition == two.repetition != settings("levels=sentence, times=2").repetition
    assert one.repetition == RereadSettings(levels="sentence") and not one.repetition.tokens
