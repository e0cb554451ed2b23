"""Scores of keys: how much the keys of a document are worth keeping, seen in one reading or in a second one.

Layers with a sliding window or without keys have no scores: their state has a fixed size already.

Shapes: K KV heads, G query heads per KV head, Q queries, S keys, D width of a key, E of a value, T tokens of the
document.  The batch is 1.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reread.errors import BadInput
from reread.models.distilled import Distilled, distilled_for, layer_input
from reread.models.dropped_sums import QUERIES, Queries
from reread.models.kept_keys import cache_names
from reread.models.kv_attention import Attention, Observer, check_alone, observed, position_bytes, scored_layers
from reread.models.kv_choice import Scores
from reread.models.kv_selection import DISTILLED, SINKS, RandomSettings, RereadSettings, Selection, Settings
from reread.models.kv_units import Cue, Passes, Predictions, repeat_chunks, repeat_passes, tokens_of
from reread.models.pretrained import Pretrained, PretrainedState
from reread.prompting.complexity import unigram_entropy

OBSERVATION = 64  # SnapKV: queries at the end of the document
POOL = 5  # SnapKV: keys that are averaged
FUTURE = 512  # expected attention: positions after the document
CHUNK = 2048  # tokens of a document that are repeated in one piece
PIECE = 256  # tokens that are read at a time where all logits are looked at
LOSS_ROWS = 256  # whose losses are taken together: rows of the width of the vocabulary
OUTPUTS = ("o_proj", "out_proj", "dense", "c_proj")  # names of the projection W_O


def window_scores(call: Attention) -> Tensor:
    """The newest keys: s_i = i, (K,T).  With the first SINKS positions kept: StreamingLLM, arXiv 2309.17453."""
    T = call.key.shape[1]
    return torch.arange(T, dtype=call.key.dtype, device=call.key.device).expand(call.key.shape[0], T)


def tova_scores(call: Attention) -> Tensor:
    """s_i = mean over all heads of a_Ti, the newest query's attention, (K,T).

    TOVA ("Transformers are Multi-State RNNs", arXiv 2401.06104), applied once at the end of the document;
    there it is applied after every token.
    """
    newest = call.weights(call.query.shape[2] - 1, call.query.shape[2])
    return newest.mean(dim=(0, 1, 2)).expand(call.key.shape[0], -1)


def snapkv_scores(call: Attention) -> Tensor:
    """s_i = mean over heads of the group and over the last OBSERVATION queries j of a_ji, averaged over POOL keys.

    (K,T).  SnapKV (arXiv 2404.14469).  The observed queries' own keys stay first, the newest before all.
    """
    K, _, Q, _ = call.query.shape
    old = max(0, Q - OBSERVATION)
    p = call.weights(old, Q).mean(dim=(1, 2))
    pooled = F.avg_pool1d(p[:, :old], POOL, stride=1, padding=POOL // 2) if old else p[:, :0]
    own = 1 + torch.arange(1, Q - old + 1, dtype=p.dtype, device=p.device) / OBSERVATION  # above every weight
    return torch.cat((pooled, own.expand(K, -1)), dim=1)


def keydiff_scores(call: Attention) -> Tensor:
    """s_i = -cos(k_i, mean_j k_j / |k_j|), (K,T).  KeyDiff (arXiv 2504.15364)."""
    anchor = F.normalize(call.key, dim=-1).mean(dim=1, keepdim=True)
    return -F.cosine_similarity(call.key, anchor, dim=-1)


def expected_scores(call: Attention, mean_rotation: Tensor, unrotated: Tensor) -> Tensor:
    """s_i = mean over heads of the group of softmax_i(k_i.m / sqrt(d) + k_i.C k_i / 2d) |W_O v_i|, (K,T).

    m = R mu and C = R Sigma R', with mu and Sigma the mean and the covariance of a head's queries before the rotation
    of positions, and R (D,D) the mean rotation of the next FUTURE positions; 1/sqrt(d) is the layer's scaling.  The
    first SINKS positions are left out of all three.  unrotated: those queries, (K,G,T,D).  Expected attention (arXiv
    2510.00636); a `softcap` is left out.
    """
    K, _, T, _ = unrotated.shape
    if T <= SINKS:
        return call.key.new_zeros(K, T)
    query, key = unrotated[:, :, SINKS:], call.key[:, SINKS:]
    mu = query.mean(dim=2)
    centred = query - mu[:, :, None]
    sigma = centred.mT @ centred / (T - SINKS)
    m, C = mu @ mean_rotation.mT, mean_rotation @ sigma @ mean_rotation.mT
    first = torch.einsum("kgd,ktd->kgt", m, key) * call.rule.scale
    second = (key[:, None] @ C * key[:, None]).sum(dim=-1) * call.rule.scale**2 / 2
    p = (first + second).softmax(dim=-1)
    return F.pad((p * value_norms(call)[:, :, SINKS:]).mean(dim=1), (SINKS, 0))


def random_scores(call: Attention, seed: int) -> Tensor:
    """Uniform in [0, 1), (K,T), the same for every model with that many heads: a control."""
    draw = torch.Generator().manual_seed((seed << 16) + call.layer)
    return torch.rand(call.key.shape[:2], generator=draw, dtype=torch.float64).to(call.key)


def value_norms(call: Attention) -> Tensor:
    """|W_O v_i| per query head, (K,G,T): the length of what a value adds to the residual stream under weight 1.

    Raises BadInput for a family whose output projection is not known.
    """
    name = next((one for one in OUTPUTS if isinstance(getattr(call.module, one, None), nn.Module)), None)
    if name is None:
        kind = type(call.module).__name__
        raise BadInput("an attention layer without a known output projection", got=kind, allowed=", ".join(OUTPUTS))
    projection: Any = getattr(call.module, name)
    K, G, _, _ = call.query.shape
    weight = projection.weight if isinstance(projection, nn.Linear) else projection.weight.T  # GPT-2's is (in, out)
    W = weight.to(call.value).unflatten(1, (K, G, call.value.shape[-1])).permute(1, 2, 3, 0)  # (K,G,E,hidden)
    value = call.value[:, None]
    return (value @ (W @ W.mT) * value).sum(dim=-1).clamp(min=0).sqrt()


def rotated(module: nn.Module, query: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """query (1,H,P,D) rotated by the family's own function; cos, sin (1,P,r), r <= D.  Raises BadInput."""
    apply = getattr(sys.modules[type(module).__module__], "apply_rotary_pos_emb", None)
    r = cos.shape[-1]
    if apply is None or r > query.shape[-1]:
        raise BadInput(
            "expected attention does not know how this layer rotates its queries",
            got=type(module).__name__,
            todo="use another selection, such as reread",
        )
    part = query[..., :r]
    return torch.cat((apply(part, part, cos, sin)[0], query[..., r:]), dim=-1)


def rotary_of(observer: Observer, call: Attention) -> tuple[Any, dict[str, Any]] | None:
    """The rotary embedding of a layer and the arguments that it was given; None for a layer without one.  Raises
    BadInput where it was not seen."""
    embedding = observer.argument(call, "position_embeddings")
    if embedding is None or not getattr(call.module, "use_rope", True):
        return None
    made = next(((part, given) for part, given, out in observer.rotations if out[0] is embedding[0]), None)
    if made is None:
        raise BadInput("the rotary embedding of this layer was not seen", got=type(call.module).__name__)
    part, given = made
    return part, {name: x for name, x in given.items() if name != "kwargs"}


def rotation(observer: Observer, call: Attention) -> tuple[Tensor, Tensor]:
    """The mean rotation (D,D) of the FUTURE positions after the document, and the queries before rotation (K,G,T,D).

    Without rotary positions in a layer: the identity, and the queries as they are.
    """
    D, T = call.key.shape[-1], call.key.shape[1]
    made = rotary_of(observer, call)
    if made is None:
        return torch.eye(D).to(call.key), call.query
    part, given = made
    given = {**given, "x": call.key}  # only its dtype and device are used
    positions = given.pop("position_ids")
    cos, sin = part.forward(**given, position_ids=positions)
    queries = call.query.flatten(0, 1)[None]
    size = (cos[..., :1] ** 2 + sin[..., :1] ** 2)[:, None]
    before = rotated(call.module, queries, cos, -sin)[0]
    r = cos.shape[-1]
    before[..., :r] /= size[0]
    future = torch.arange(T, T + FUTURE, device=call.key.device)[None]
    cos, sin = part.forward(**given, position_ids=future)
    basis = torch.eye(D).to(call.key)[None, :, None].expand(1, D, FUTURE, D)
    return rotated(call.module, basis, cos, sin)[0].mean(dim=1).mT, before.view_as(call.query)


ATTENTION_SCORES = {
    "full": window_scores,
    "window": window_scores,
    "tova": tova_scores,
    "snapkv": snapkv_scores,
    "keydiff": keydiff_scores,
}


class OneReading(Observer):
    """Scores of selections that need no second reading, of one document that is read in one call."""

    def __init__(self, layers: tuple[int, ...], selections: Sequence[Selection], made: Distilled | None = None):
        super().__init__()
        self.layers, self.selections, self.made = layers, selections, made
        self.scores: dict[str, Scores] = {}
        self.sizes: dict[int, int] = {}

    def __call__(self, call: Attention) -> Tensor:
        if call.layer in self.layers:
            if call.query.shape[2] != call.key.shape[1] or call.rule.window is not None:
                raise BadInput("a layer that keeps all keys must see all of them", got=f"layer {call.layer}")
            self.sizes[call.layer] = call.size
            for one in self.selections:
                self.scores.setdefault(str(one), {})[call.layer] = finite(self.score(one, call), call.layer)
        return call.output()

    def score(self, one: Selection, call: Attention) -> Tensor:
        if isinstance(one.settings, RandomSettings):
            return random_scores(call, one.settings.seed)
        if one.name == "expected":
            return expected_scores(call, *rotation(self, call))
        if one.name == DISTILLED:
            assert self.made is not None
            return self.made.scores(call.layer, layer_input(self, call))
        return ATTENTION_SCORES[one.name](call)


def finite(scores: Tensor, layer: int) -> Tensor:
    """The scores.  Raises BadInput where the attention of a layer gives none."""
    if not bool(scores.isfinite().all()):
        raise BadInput("the attention of a layer is not a finite number", got=f"layer {layer}")
    return scores


@dataclass(frozen=True)
class Reading:
    """A document that was read: logits (1,V) after it, the full state, scores by the selection's id, `choose`'s sizes,
    and (T,) what repeating each token lost, in nats, where a second reading took it.

    read_tokens: tokens that went through the model; complexity: of the document, by the names of THRESHOLDS;
    predictions: of the first reading, where they were asked for; queries: of second readings, per layer.
    """

    logits: Tensor
    state: PretrainedState
    scores: dict[str, Scores]
    sizes: dict[int, int]
    losses: Tensor | None = None
    read_tokens: int = 0
    complexity: Mapping[str, float] = field(default_factory=dict)
    predictions: Predictions | None = None
    queries: dict[RereadSettings, dict[int, Queries]] = field(default_factory=dict)


def first_reading(model: Pretrained, tokens: Tensor, selections: Sequence[Selection] = ()) -> Reading:
    """Read tokens (1,T) and score their keys for all these selections.  Raises BadInput for `reread`, which needs a
    second reading, for `distilled` where the model has no such scores, for NaN attention, and for a model without full
    attention."""
    if any(isinstance(one.settings, RereadSettings) for one in selections):
        raise BadInput("this selection needs a second reading", got=", ".join(map(str, selections)))
    check_alone(tokens)
    layers = scored_layers(model)
    made = next((distilled_for(model, one) for one in selections if one.name == DISTILLED), None)
    observer = OneReading(layers, selections, made)
    logits, state = observed(model, observer).read(tokens, last_only=True)
    _check_all_seen(model, observer.layers, observer.sizes)
    complexity = {"unigram": unigram_entropy(tokens[0].tolist())}
    return Reading(logits, state, observer.scores, observer.sizes, read_tokens=tokens.shape[1], complexity=complexity)


def plain_reading(model: Pretrained, tokens: Tensor, *, predictions: bool = False) -> Reading:
    """Read tokens (1,T) with the model's own attention, and score nothing.

    predictions: also take what the model predicts; the document is then read PIECE tokens at a time.
    """
    check_alone(tokens)
    layers, complexity = scored_layers(model), {"unigram": unigram_entropy(tokens[0].tolist())}
    seen = None
    if predictions:
        logits, state, seen = predicting_reading(model, tokens)
        n = max(tokens.shape[1] - 1, 1)
        complexity["model"] = float(seen.entropies.sum()) / n / math.log(model.config.vocab_size)
        complexity["loss"] = float(seen.losses.sum()) / n
    else:
        logits, state = model.read(tokens, last_only=True)
    (row,) = state.tensors
    parts = {i: [row[name] for name in cache_names(i)] for i in layers}
    sizes = {i: position_bytes(key, value) for i, (key, value) in parts.items()}
    return Reading(logits, state, {}, sizes, read_tokens=tokens.shape[1], complexity=complexity, predictions=seen)


@torch.no_grad()
def predicting_reading(model: Pretrained, tokens: Tensor) -> tuple[Tensor, PretrainedState, Predictions]:
    """Logits (1,V) after tokens (1,T), the state, and what was predicted; PIECE rows of the width of the vocabulary are
    held at a time."""
    T, state = tokens.shape[1], None
    losses, entropies = torch.zeros(T), torch.zeros(T)
    logits = torch.empty(0)
    for start in range(0, max(T, 1), PIECE):  # a document without tokens is refused by `read`
        piece = tokens[:, start : start + PIECE]
        every, state = model.read(piece) if state is None else model.extend(piece, state)
        wanted = tokens[0, start + 1 : start + 1 + piece.shape[1]]
        rows = every[0, : len(wanted)].float().log_softmax(dim=-1)
        part = slice(start + 1, start + 1 + len(wanted))
        losses[part] = -rows.gather(-1, wanted[:, None])[:, 0].cpu()
        entropies[part] = -(rows.exp() * rows).sum(dim=-1).cpu()
        logits = every[:, -1]
    assert state is not None
    return logits, state, Predictions(losses, entropies)


def _check_all_seen(model: Pretrained, layers: Sequence[int], seen: Any) -> None:
    if missing := sorted(set(layers) - set(seen)):
        got = f"{model.config.model_type}: layers {missing}"
        raise BadInput("the attention of this family does not go through transformers' AttentionInterface", got=got)


# A second reading


class SecondReading(Observer):
    """The largest attention that any query from position `begin` on pays to each key of the first T tokens.

    scores: (K,C) per layer, C = T, or the kept keys as KeptRows.padded has them and those read after them.
    plus: times |W_O v_i| / |h_j|, h_j the input of query j's attention layer.
    stride: of the queries from `begin` on, each so many is kept in `queries`; 0: none.
    """

    def __init__(self, layers: tuple[int, ...], T: int, plus: bool, stride: int = 0):
        super().__init__()
        self.layers, self.T, self.plus, self.begin, self.stride = layers, T, plus, 0, stride
        self.scores: Scores = {}
        self.queries: dict[int, list[Queries]] = {}

    def __call__(self, call: Attention) -> Tensor:
        if call.layer not in self.layers:
            return call.output()
        K, _, Q, _ = call.query.shape
        C = call.key.shape[1] - (call.begin + Q - self.T)
        highest = self.scores.get(call.layer, call.key.new_zeros(K, C))
        lengths = value_norms(call)[:, :, :C] if self.plus else None
        h = self.argument(call, "hidden_states").to(call.key)[0].norm(dim=-1) if self.plus else None  # (Q,)

        def see(start: int, p: Tensor) -> None:
            nonlocal highest
            skip = max(0, self.begin - call.begin - start)
            if skip >= p.shape[2]:
                return
            p = p[:, :, skip:, :C]
            if lengths is not None and h is not None:
                p = p * lengths[:, :, None] / h[start + skip : start + skip + p.shape[2], None]
            highest = torch.maximum(highest, p.amax(dim=(1, 2)))

        if self.stride:
            if call.rule.softcap is not None:
                raise BadInput("keys of attention with a softcap cannot be summed", got=f"layer {call.layer}")
            some = call.query[:, :, max(0, self.begin - call.begin) :: self.stride]
            self.queries.setdefault(call.layer, []).append(Queries(some, call.rule.scale))
        out = call.output(see)
        self.scores[call.layer] = finite(highest, call.layer)
        return out


def token_losses(logits: Tensor, wanted: Tensor) -> Tensor:
    """-log p of the tokens wanted (n,) under logits (n,V), in nats, (n,) fp32; a block of rows at a time."""
    found = [
        F.cross_entropy(some.float(), ids, reduction="none")
        for some, ids in zip(logits.split(LOSS_ROWS), wanted.split(LOSS_ROWS), strict=True)
    ]
    return torch.cat(found)


def repeat_losses(model: Pretrained, tokens: Tensor, state: PretrainedState, cue: Cue, chunk: int = CHUNK) -> Tensor:
    """(T,) -log p, in nats, of every token of a document, tokens (1,T), when it is repeated from `state` after a cue.

    state: after the document, with all its keys or some.  Raises BadInput where the model has no positions left.
    """
    found = []
    for before, piece in repeat_chunks(model, tokens, cue, chunk):
        logits, _ = model.extend(torch.cat((before, piece), dim=1), state)
        found.append(token_losses(logits[0, before.shape[1] - 1 : -1], piece[0]))
    return torch.cat(found)


def second_reading(
    model: Pretrained,
    tokens: Tensor,
    state: PretrainedState,
    cue: Cue,
    *,
    plus: bool = False,
    chunk: int = CHUNK,
    begin: int = 0,
    end: int | None = None,
    passes: Passes | None = None,
    losses: list[Tensor] | None = None,
    queries: dict[int, Queries] | None = None,
) -> Scores:
    """s_i = max over repeated tokens j and heads of the group of a_ji: KVzip (arXiv 2505.23416).

    The document, tokens (1,T), is repeated after a cue, against `state`, the full state after it; the keys of the
    repetition are not kept.  a_j: softmax over the document's keys, the cue and the tokens that were repeated before j.
    Longer documents are repeated in chunks, each from position T on.  plus: s_i = max_j a_ji |W_O v_i| / |h_j|, KVzip+
    (arXiv 2601.07891).  begin: the first token that is repeated; passes: what is repeated in place of these chunks.
    losses: gets `repeat_losses` of each chunk, from the same pass; queries: gets about QUERIES of the queries of each
    layer.  `state` may have kept keys alone; scores are then (K,P), as KeptRows.padded has them.  end: the position
    after the document, where keys were moved.  Raises BadInput where the model has no positions left, and for NaN
    attention.
    """
    check_alone(tokens)
    end = tokens.shape[1] if end is None else end
    if state.position.tolist() != [end]:
        raise BadInput("the state must be of this document", got=f"{state.position.tolist()} tokens", allowed=[end])
    passes = list(repeat_chunks(model, tokens, cue, chunk, begin)) if passes is None else passes
    stride = 0 if queries is None else max(1, sum(piece.shape[1] for _, piece in passes) // QUERIES)
    observer = SecondReading(scored_layers(model), end, plus, stride)
    view = observed(model, observer)
    for before, piece in passes:
        observer.begin = end + before.shape[1]
        logits, _ = view.extend(torch.cat((before, piece), dim=1), state, last_only=losses is None)
        if losses is not None:
            losses.append(token_losses(logits[0, before.shape[1] - 1 : -1], piece[0]))
    observer.forget()
    _check_all_seen(model, observer.layers, observer.scores)
    if queries is not None:
        found = observer.queries.items()
        queries |= {i: Queries(torch.cat([one.query for one in own], dim=2), own[0].scale) for i, own in found}
    return observer.scores


def read_and_score(
    model: Pretrained,
    tokens: Tensor,
    selections: Sequence[Selection],
    cue: Cue | None = None,
    *,
    losses: bool = False,
) -> Reading:
    """Read tokens (1,T) once, score their keys for all these selections, and read them again for those that need it.

    losses: whether the first second reading takes the losses of repeating the document too.  Raises BadInput as
    `first_reading` and `second_reading` do, and where a second reading has no cue.
    """
    again = [one for one in selections if isinstance(one.settings, RereadSettings)]
    if again and (cue is None or not cue.first):
        raise BadInput("a second reading needs a cue", got=", ".join(map(str, again)))
    once, watched = [one for one in selections if one not in again], needs_predictions(selections)
    alone = bool(again) and not once
    reading = plain_reading(model, tokens, predictions=watched) if watched or alone else None
    if once or reading is None:
        first = first_reading(model, tokens, once)
        reading = first if reading is None else with_scores(reading, first)
    made: dict[RereadSettings, Scores] = {}
    for one in again:
        assert isinstance(one.settings, RereadSettings) and cue is not None
        way = one.settings.repetition
        if way not in made:
            passes = repeat_passes(model, tokens, cue, way, predictions=reading.predictions)
            lost: list[Tensor] | None = [] if losses and way.flat and reading.losses is None else None
            summed = [x for x in again if isinstance(x.settings, RereadSettings) and x.settings.dropped]
            queries: dict[int, Queries] | None = {} if summed else None
            made[way] = second_reading(
                model, tokens, reading.state, cue, plus=way.plus, passes=passes, losses=lost, queries=queries
            )
            if queries is not None:
                reading.queries[way] = queries
            reading = replace(
                reading,
                losses=torch.cat(lost) if lost else reading.losses,
                read_tokens=reading.read_tokens + tokens_of(passes),
            )
        reading.scores[str(one)] = made[way]
    return reading


def needs_predictions(selections: Sequence[Selection]) -> bool:
    """Whether one of these selections needs what the model predicts in the first reading."""
    return any(isinstance(one.settings, Settings) and one.settings.needs_predictions for one in selections)


def with_scores(plain: Reading, first: Reading) -> Reading:
    """A reading of a document with the scores of another one of it, which observed the attention."""
    read = plain.read_tokens + first.read_tokens
    return replace(plain, scores={**plain.scores, **first.scores}, sizes=first.sizes, read_tokens=read)
