"""Scores of keys: how much the keys of a document are worth keeping, seen in one reading or in a second one.

Layers with a sliding window or without keys have no scores: their state has a fixed size already.

Shapes: K KV heads, G query heads per KV head, Q queries, S keys, D width of a key, E of a value, T tokens of the
document.  The batch is 1.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reread.errors import BadInput
from reread.models.kv_attention import Attention, Observer, check_alone, observed, scored_layers
from reread.models.kv_selection import SINKS, RandomSettings, RereadSettings, Scores, Selection
from reread.models.pretrained import Pretrained, PretrainedState
from reread.models.state import too_long

OBSERVATION = 64  # SnapKV: queries at the end of the document
POOL = 5  # SnapKV: keys that are averaged
FUTURE = 512  # expected attention: positions after the document
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
    first = torch.einsum("kgd,ktd->kgt", m, key) * call.scaling
    second = (key[:, None] @ C * key[:, None]).sum(dim=-1) * call.scaling**2 / 2
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


def _rotate(module: nn.Module, query: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
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


def rotation(observer: Observer, call: Attention) -> tuple[Tensor, Tensor]:
    """The mean rotation (D,D) of the FUTURE positions after the document, and the queries before rotation (K,G,T,D).

    Without rotary positions in a layer: the identity, and the queries as they are.
    """
    D, T = call.key.shape[-1], call.key.shape[1]
    embedding = observer.argument(call, "position_embeddings")
    if embedding is None or not getattr(call.module, "use_rope", True):
        return torch.eye(D).to(call.key), call.query
    made = next(((part, given) for part, given, out in observer.rotations if out[0] is embedding[0]), None)
    if made is None:
        raise BadInput("the rotary embedding of this layer was not seen", got=type(call.module).__name__)
    part, given = made
    given = {name: x for name, x in given.items() if name != "kwargs"}
    given["x"] = call.key  # only its dtype and device are used
    positions = given.pop("position_ids")
    cos, sin = part.forward(**given, position_ids=positions)
    queries = call.query.flatten(0, 1)[None]
    size = (cos[..., :1] ** 2 + sin[..., :1] ** 2)[:, None]
    before = _rotate(call.module, queries, cos, -sin)[0]
    r = cos.shape[-1]
    before[..., :r] /= size[0]
    future = torch.arange(T, T + FUTURE, device=call.key.device)[None]
    cos, sin = part.forward(**given, position_ids=future)
    basis = torch.eye(D).to(call.key)[None, :, None].expand(1, D, FUTURE, D)
    return _rotate(call.module, basis, cos, sin)[0].mean(dim=1).mT, before.view_as(call.query)


ATTENTION_SCORES = {
    "full": window_scores,
    "window": window_scores,
    "tova": tova_scores,
    "snapkv": snapkv_scores,
    "keydiff": keydiff_scores,
}


class OneReading(Observer):
    """Scores of selections that need no second reading, of one document that is read in one call."""

    def __init__(self, layers: tuple[int, ...], selections: Sequence[Selection]):
        super().__init__()
        self.layers, self.selections = layers, selections
        self.scores: dict[str, Scores] = {}
        self.sizes: dict[int, int] = {}

    def __call__(self, call: Attention) -> Tensor:
        if call.layer in self.layers:
            if call.query.shape[2] != call.key.shape[1] or call.window is not None:
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
        return ATTENTION_SCORES[one.name](call)


def finite(scores: Tensor, layer: int) -> Tensor:
    """The scores.  Raises BadInput where the attention of a layer gives none."""
    if not bool(scores.isfinite().all()):
        raise BadInput("the attention of a layer is not a finite number", got=f"layer {layer}")
    return scores


@dataclass(frozen=True)
class Reading:
    """A document that was read: the full state, scores by the selection's id, and `choose`'s sizes."""

    state: PretrainedState
    scores: dict[str, Scores]
    sizes: dict[int, int]


def first_reading(model: Pretrained, tokens: Tensor, selections: Sequence[Selection] = ()) -> Reading:
    """Read tokens (1,T) and score their keys for all these selections.  Raises BadInput for `reread`, which needs a
    second reading, for NaN attention, and for a model without full attention."""
    if any(isinstance(one.settings, RereadSettings) for one in selections):
        raise BadInput("this selection needs a second reading", got=", ".join(map(str, selections)))
    check_alone(tokens)
    observer = OneReading(scored_layers(model), selections)
    _, state = observed(model, observer).read(tokens, last_only=True)
    _check_all_seen(model, observer.layers, observer.sizes)
    return Reading(state, observer.scores, observer.sizes)


def _check_all_seen(model: Pretrained, layers: Sequence[int], seen: Any) -> None:
    if missing := sorted(set(layers) - set(seen)):
        got = f"{model.config.model_type}: layers {missing}"
        raise BadInput("the attention of this family does not go through transformers' AttentionInterface", got=got)


# A second reading


@dataclass(frozen=True)
class Cue:
    """Token ids that ask for the document again: `first` before its first chunk, `later` and then the last `tail`
    tokens of the chunk before and `after` before a later one."""

    first: tuple[int, ...]
    later: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    tail: int = 8

    def before(self, tokens: Tensor, start: int) -> Tensor:
        """(1,n) ids before the chunk of tokens (1,T) that begins at `start`."""
        if not start:
            return tokens.new_tensor(self.first)[None]
        end = tokens[0, max(0, start - self.tail) : start]
        return torch.cat((tokens.new_tensor(self.later), end, tokens.new_tensor(self.after)))[None]


class SecondReading(Observer):
    """The largest attention that any query from position `begin` on pays to each of the first T keys.

    plus: times |W_O v_i| / |h_j|, h_j the input of query j's attention layer.
    """

    def __init__(self, layers: tuple[int, ...], T: int, plus: bool):
        super().__init__()
        self.layers, self.T, self.plus, self.begin = layers, T, plus, 0
        self.scores: Scores = {}

    def __call__(self, call: Attention) -> Tensor:
        if call.layer not in self.layers:
            return call.output()
        K, _, Q, _ = call.query.shape
        first = call.key.shape[1] - Q
        highest = self.scores.get(call.layer, call.key.new_zeros(K, self.T))
        lengths = value_norms(call)[:, :, : self.T] if self.plus else None
        h = self.argument(call, "hidden_states").to(call.key)[0].norm(dim=-1) if self.plus else None  # (Q,)

        def see(start: int, p: Tensor) -> None:
            nonlocal highest
            skip = max(0, self.begin - first - start)
            if skip >= p.shape[2]:
                return
            p = p[:, :, skip:, : self.T]
            if lengths is not None and h is not None:
                p = p * lengths[:, :, None] / h[start + skip : start + skip + p.shape[2], None]
            highest = torch.maximum(highest, p.amax(dim=(1, 2)))

        out = call.output(see)
        self.scores[call.layer] = finite(highest, call.layer)
        return out


def second_reading(
    model: Pretrained, tokens: Tensor, state: PretrainedState, cue: Cue, *, plus: bool = False, chunk: int = 2048
) -> Scores:
    """s_i = max over repeated tokens j and heads of the group of a_ji: KVzip (arXiv 2505.23416).

    The document, tokens (1,T), is repeated after a cue, against `state`, the full state after it; the keys of the
    repetition are not kept.  a_j: softmax over the document's keys, the cue and the tokens that were repeated before j.
    Longer documents are repeated in chunks, each from position T on.  plus: s_i = max_j a_ji |W_O v_i| / |h_j|, KVzip+
    (arXiv 2601.07891).  Raises BadInput where the model has no positions left, and for NaN attention.
    """
    check_alone(tokens)
    T = tokens.shape[1]
    if state.position.tolist() != [T]:
        raise BadInput("the state must be of this document", got=f"{state.position.tolist()} tokens", allowed=[T])
    longest = max(len(cue.first), len(cue.later) + cue.tail + len(cue.after))
    if model.places is not None:
        chunk = min(chunk, model.places - T - longest)
        if chunk < 1:
            raise too_long(T + longest + 1, model.places)
    observer = SecondReading(scored_layers(model), T, plus)
    view = observed(model, observer)
    for start in range(0, T, chunk):
        before = cue.before(tokens, start)
        observer.begin = T + before.shape[1]
        view.extend(torch.cat((before, tokens[:, start : start + chunk]), dim=1), state, last_only=True)
    _check_all_seen(model, observer.layers, observer.scores)
    return observer.scores


def read_and_score(
    model: Pretrained, tokens: Tensor, selections: Sequence[Selection], cue: Cue | None = None
) -> Reading:
    """Read tokens (1,T) once, score their keys for all these selections, and read them again for those that need it.

    Raises BadInput as `first_reading` and `second_reading` do, and where a second reading has no cue.
    """
    again = [one for one in selections if isinstance(one.settings, RereadSettings)]
    if again and (cue is None or not cue.first):
        raise BadInput("a second reading needs a cue", got=", ".join(map(str, again)))
    reading = first_reading(model, tokens, [one for one in selections if one not in again])
    made: dict[tuple[bool, int], Scores] = {}
    for one in again:
        assert isinstance(one.settings, RereadSettings) and cue is not None
        way = (one.settings.plus, one.settings.chunk)
        if way not in made:
            made[way] = second_reading(model, tokens, reading.state, cue, plus=way[0], chunk=way[1])
        reading.scores[str(one)] = made[way]
    return reading
