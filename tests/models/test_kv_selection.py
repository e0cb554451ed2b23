"""Ids of selections, and the positions that a budget keeps."""

import math

import pytest
import torch
from raising import containing, refused

from reread.errors import BadInput, UnknownName
from reread.models.kv_choice import choose
from reread.models.kv_selection import SINKS, selection, without_fit

SHAPES = {0: 2, 3: 3}  # KV heads per layer
SIZES = {0: 64, 3: 64}


def scores(T, seed=0, levels=0):
    """Random scores; levels: as many different values, so that most are equal."""
    draw = torch.Generator().manual_seed(seed)
    made = {layer: torch.rand(K, T, generator=draw) for layer, K in SHAPES.items()}
    return {layer: (x * levels).floor() if levels else x for layer, x in made.items()}


def flat(kept):
    return [one.tolist() for layer in sorted(kept) for one in kept[layer]]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("reread(share=0.25)", "reread(share=0.25)"),
        ("reread(tokens=256, plus=True, chunk=512)", "reread(chunk=512, plus=True, tokens=256)"),
        ("reread( share=0.5, plus=False, heads=global, chunk=2048)", "reread(share=0.5)"),
        ("window(tokens=256)", "window(tokens=256)"),
        ("reread(tokens=256, read=512)", "reread(read=512, tokens=256)"),
        ("window(mib=4, read=0)", "window(mib=4.0)"),
        ("snapkv(mib=4, heads=equal)", "snapkv(heads=equal, mib=4.0)"),
        ("expected(share=1)", "expected(share=1.0)"),
        ("distilled(tokens=256, read=512)", "distilled(read=512, tokens=256)"),
        ("distilled(tokens=9, fit='001234567890')", "distilled(fit='001234567890', tokens=9)"),
        ("distilled(tokens=9, fit=ab12cd34ef56)", "distilled(fit=ab12cd34ef56, tokens=9)"),
        ("distilled(share=0.25, heads=global)", "distilled(share=0.25)"),
        ("random(tokens=9, seed=3)", "random(seed=3, tokens=9)"),
        ("full", "full"),
    ],
)
def test_an_id_parses_back(text, written):
    one = selection(text)
    assert str(one) == written and selection(str(one)) == one


def test_the_name_of_the_weights_can_be_left_out():
    assert without_fit("distilled(fit='1e5', tokens=9)") == "distilled(tokens=9)"
    assert without_fit("reread(tokens=9)") == "reread(tokens=9)" and without_fit("full") == "full"


def test_wrong_ids_are_refused():
    with refused(UnknownName, got="rered", todo=containing("'reread'")):
        selection("rered(share=0.5)")
    with refused(UnknownName, got="size", allowed=containing("tokens", "plus")):
        selection("reread(size=4)")
    with refused(UnknownName, got="plus", allowed="dynamic, heads, loss, mib, read, share, step, thresholds, tokens"):
        selection("window(tokens=9, plus=True)")
    with refused(UnknownName, got="share", allowed="none"):
        selection("full(share=0.5)")
    for text in ("reread", "reread(heads=equal)", "reread(tokens=9, share=0.5)", "window(mib=1, tokens=9)"):
        with refused(BadInput, got=text, allowed="tokens or mib or share or loss"):
            selection(text)
    with refused(UnknownName, got="even", allowed="equal, global"):
        selection("window(tokens=9, heads=even)")
    for text, got in {"tokens=3": 3, "share=0": 0.0, "share=1.5": 1.5, "mib=0": 0.0, "mib=-1": -1.0}.items():
        with refused(BadInput, got=got, naming=text.partition("=")[0]):
            selection(f"window({text})")
    with refused(BadInput, got=0, naming="chunk"):
        selection("reread(share=0.5, chunk=0)")
    with refused(BadInput, got=True, naming="tokens"):
        selection("window(tokens=True)")


@pytest.mark.parametrize("heads", ["global", "equal"])
@pytest.mark.parametrize("levels", [0, 2])
@pytest.mark.parametrize("T", [5, 23, 100])
def test_budgets_are_exact_and_the_first_positions_stay(T, levels, heads):
    given = scores(T, levels=levels)
    total = sum(SHAPES.values())
    for budget, per_head in {
        "tokens=7": min(7, T),
        "share=0.29": max(SINKS, T * 29 // 100),
        "share=1.0": T,
        f"mib={total * 64 * 6 / 2**20}": min(6, T),
    }.items():
        kept = choose(given, selection(f"tova({budget}, heads={heads})"), SIZES)
        assert {layer: len(one) for layer, one in kept.items()} == SHAPES
        assert sum(map(len, flat(kept))) == per_head * total
        for positions in flat(kept):
            assert positions == sorted(set(positions)) and positions[:SINKS] == [*range(SINKS)]
            assert positions[-1] < T
            assert heads == "global" or len(positions) == per_head
        assert all(one.dtype == torch.int64 for layer in kept.values() for one in layer)
        assert flat(kept) == flat(choose(given, selection(f"tova({budget}, heads={heads})"), SIZES))


@pytest.mark.parametrize("heads", ["global", "equal"])
@pytest.mark.parametrize("levels", [0, 3])
def test_the_best_are_kept_and_the_earlier_of_two_equal_ones(heads, levels):
    given, T, n = scores(30, seed=1, levels=levels), 30, 9
    rows = [row.tolist() for layer in sorted(given) for row in given[layer]]
    want = [list(range(SINKS)) for _ in rows]
    others = [(-rows[r][i], i, r) for r in range(len(rows)) for i in range(SINKS, T)]
    if heads == "global":
        taken = sorted(others)[: (n - SINKS) * len(rows)]
    else:
        taken = [x for r in range(len(rows)) for x in sorted(o for o in others if o[2] == r)[: n - SINKS]]
    for _, i, r in taken:
        want[r].append(i)
    assert flat(choose(given, selection(f"tova(tokens={n}, heads={heads})"), SIZES)) == [sorted(x) for x in want]


def test_layers_of_different_widths_share_bytes():
    given, sizes = scores(50), {0: 100, 3: 7}
    least = SINKS * (2 * 100 + 3 * 7)
    for extra in (0, 6, 500, 3000):
        budget = least + extra
        kept = choose(given, selection(f"tova(mib={(budget + 0.5) / 2**20})"), sizes)
        used = sum(sizes[layer] * len(one) for layer, heads in kept.items() for one in heads)
        assert budget - 100 < used <= budget
    equal = choose(given, selection(f"tova(mib={(least * 2.5) / 2**20}, heads=equal)"), sizes)
    assert {len(one) for one in (*equal[0], *equal[3])} == {10}


def test_a_budget_beyond_the_document_keeps_everything():
    for text in ("tova(tokens=40)", "tova(mib=1, heads=equal)", "tova(mib=1)", "tova(tokens=40, heads=equal)", "full"):
        assert flat(choose(scores(23), selection(text), SIZES)) == [[*range(23)]] * 5
    for text in ("tova(tokens=4)", "tova(share=0.1)"):
        assert flat(choose(scores(3), selection(text), SIZES)) == [[0, 1, 2]] * 5


def test_scores_and_budgets_that_do_not_fit_are_refused():
    with refused(BadInput, got="mib=0.001", allowed="0.002 or more"):
        choose(scores(20), selection("tova(mib=0.001)"), SIZES)
    choose(scores(20), selection("tova(mib=0.002)"), SIZES)
    for wrong in (math.nan, math.inf):
        given = scores(20)
        given[3][1, 7] = wrong
        with refused(BadInput, got="layer 3"):
            choose(given, selection("tova(share=0.5)"), SIZES)
    with refused(BadInput, got="{0: (2, 20), 3: (3, 21)}"):
        choose({0: scores(20)[0], 3: scores(21)[3]}, selection("full"), SIZES)
    with refused(BadInput, got="{}"):
        choose({}, selection("full"), SIZES)
    with refused(BadInput, got=[3], allowed=[0]):
        choose(scores(20), selection("full"), {0: 64})
