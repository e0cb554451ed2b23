"""Prefix linear attention on a GPU: the kernels, and nothing that launches them (that is triton_op.py).

Tokens of all rows stand one after another, (tokens, H, width); a table says where each segment of a
sequence begins and ends.  Nothing is carried from block to block in registers: `segment_sums` gives
every segment's own sum of phi(k) v^T, `scan` turns the sums into the state at each segment's start, and
`attend` reads that state once and sees the keys of its own segment through exact scores.  So every
program of the two large kernels is independent of every other, and none adds to what another wrote.

Features are built in registers and never stored.  With the Taylor map they are the rows of
feature_maps.Taylor in its own order (1, the vector, then its products with its cyclic shifts): row j is
first_j(x) * second_j(x) * weight_j, taken from x by a product with a 0/1 matrix, which is exact.  States
have that layout everywhere, so that one of chunked.py goes on here and the reverse.

No result of a product is transposed before another product: what is needed the other way round is loaded
so.  Masks act after the feature map.  Sums, states and normalisers are float32.

Shapes: B batch, T time, H heads, D width of q and k, V width of v, F expanded width; G segments, N sequences;
FP, VP the next powers of two of D and V, BF features, BV values, BT and BK tokens at a time.
"""

from __future__ import annotations

import triton
import triton.language as tl

TAYLOR = tl.constexpr(0)
IDENTITY = tl.constexpr(1)
ELU = tl.constexpr(2)
RELU = tl.constexpr(3)
GELU = tl.constexpr(4)

EPS = tl.constexpr(1e-12)
FEW_KEYS = tl.constexpr(64)
GELU_SHIFT = tl.constexpr(0.171)
ROOT_HALF = tl.constexpr(0.7071067811865476)
ROOT_TWO_PI_INVERSE = tl.constexpr(0.3989422804014327)


@triton.jit
def mapped(x, inside, MAP: tl.constexpr):
    """The vector whose inner products the map's kernel is a function of: x itself, or the map elementwise.
    Columns that are not inside (padding to a power of two) stay zero."""
    if MAP == ELU:
        x = x.to(tl.float32)
        return tl.where(inside, tl.where(x > 0, 1.0 + x, tl.exp(tl.minimum(x, 0.0))), 0.0)
    elif MAP == RELU:
        return tl.maximum(x, 0.0)
    elif MAP == GELU:
        x = x.to(tl.float32)
        return tl.where(inside, 0.5 * x * (1.0 + tl.erf(x * ROOT_HALF)) + GELU_SHIFT, 0.0)
    else:
        return x


@triton.jit
def slope(x, MAP: tl.constexpr):
    """The derivative of `mapped`, float32."""
    x = x.to(tl.float32)
    if MAP == ELU:
        return tl.where(x > 0, 1.0, tl.exp(tl.minimum(x, 0.0)))
    elif MAP == RELU:
        return tl.where(x > 0, 1.0, 0.0)
    elif MAP == GELU:
        return 0.5 * (1.0 + tl.erf(x * ROOT_HALF)) + x * ROOT_TWO_PI_INVERSE * tl.exp(-0.5 * x * x)
    else:
        return tl.zeros_like(x) + 1.0


@triton.jit
def similarity(inner, SCALE: tl.constexpr, MAP: tl.constexpr):
    """The kernel at inner products of mapped vectors; SCALE is D^(-1/2)."""
    if MAP == TAYLOR:
        s = inner * SCALE
        return 1.0 + s + 0.5 * s * s
    elif MAP == IDENTITY:
        return inner * SCALE
    else:
        return inner


@triton.jit
def similarity_slope(inner, SCALE: tl.constexpr, MAP: tl.constexpr):
    """The derivative of `similarity`."""
    if MAP == TAYLOR:
        return SCALE * (1.0 + inner * SCALE)
    elif MAP == IDENTITY:
        return tl.zeros_like(inner) + SCALE
    else:
        return tl.zeros_like(inner) + 1.0


@triton.jit
def factors(j, D: tl.constexpr, F: tl.constexpr, SCALE: tl.constexpr, MAP: tl.constexpr):
    """Feature row j: which two entries of x it multiplies (-1: none, a factor of one) and its weight."""
    if MAP == TAYLOR:
        m = tl.maximum(j - 1 - D, 0)
        shift, i = m // D, m % D
        first = tl.where(j == 0, -1, tl.where(j <= D, j - 1, i))
        second = tl.where(j <= D, -1, (i + shift) % D)
        weight = tl.where(j <= D, SCALE**0.5, SCALE)
        weight = tl.where(j == 0, 1.0, weight)
        weight = tl.where((j > D) & (j <= 2 * D), weight * ROOT_HALF, weight)
    else:
        first, second, weight = j, j * 0 - 1, tl.where(j < F, 1.0, 0.0)
        if MAP == IDENTITY:
            weight = weight * SCALE**0.5
    return first, second, tl.where(j < F, weight, 0.0)


@triton.jit
def chosen(x, which, FP: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr):
    """x (BT,FP) -> (BT,BF): its columns of those numbers, ones where the number is -1.  Exact."""
    pick = (tl.arange(0, FP)[:, None] == which[None, :]).to(DOT)
    return tl.dot(x.to(DOT), pick, input_precision=PRECISION) + (which < 0).to(tl.float32)[None, :]


@triton.jit
def chosen_rows(xT, which, FP: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr):
    """xT (FP,BT) -> (BF,BT): its rows of those numbers, ones where the number is -1.  Exact."""
    pick = (which[:, None] == tl.arange(0, FP)[None, :]).to(DOT)
    return tl.dot(pick, xT.to(DOT), input_precision=PRECISION) + (which < 0).to(tl.float32)[:, None]


@triton.jit
def features(x, j, D: tl.constexpr, F: tl.constexpr, SCALE: tl.constexpr, MAP: tl.constexpr,
             FP: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr):  # fmt: skip
    """Features j (BF) of mapped vectors x (BT,FP) -> (BT,BF), float32."""
    first, second, weight = factors(j, D, F, SCALE, MAP)
    out = chosen(x, first, FP, DOT, PRECISION)
    if MAP == TAYLOR:
        out = out * chosen(x, second, FP, DOT, PRECISION)
    return out * weight[None, :]


@triton.jit
def features_T(xT, j, D: tl.constexpr, F: tl.constexpr, SCALE: tl.constexpr, MAP: tl.constexpr,
               FP: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr):  # fmt: skip
    """Features j (BF) of mapped vectors xT (FP,BT) -> (BF,BT), float32."""
    first, second, weight = factors(j, D, F, SCALE, MAP)
    out = chosen_rows(xT, first, FP, DOT, PRECISION)
    if MAP == TAYLOR:
        out = out * chosen_rows(xT, second, FP, DOT, PRECISION)
    return out * weight[:, None]


@triton.jit
def through_features(grad, x, j, D: tl.constexpr, F: tl.constexpr, SCALE: tl.constexpr, MAP: tl.constexpr,
                     FP: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr):  # fmt: skip
    """The gradient with respect to features j (BT,BF) -> with respect to the mapped vectors (BT,FP): each
    product gives its factors the gradient times the other factor."""
    first, second, weight = factors(j, D, F, SCALE, MAP)
    grad = grad * weight[None, :]
    back = (first[:, None] == tl.arange(0, FP)[None, :]).to(DOT)
    if MAP == TAYLOR:
        other = chosen(x, second, FP, DOT, PRECISION)
        out = tl.dot((grad * other).to(DOT), back, input_precision=PRECISION)
        other = chosen(x, first, FP, DOT, PRECISION)
        back = (second[:, None] == tl.arange(0, FP)[None, :]).to(DOT)
        return tl.dot((grad * other).to(DOT), back, out, input_precision=PRECISION)
    else:
        return tl.dot(grad.to(DOT), back, input_precision=PRECISION)


@triton.jit
def real(mask_ptr, start, t, n, MASKED: tl.constexpr):
    """Which tokens t of a segment of n, that begins at token start, are real."""
    ok = t < n
    if MASKED:
        ok = ok & (tl.load(mask_ptr + start + t, mask=ok, other=0) != 0)
    return ok


@triton.jit
def rows(ptr, t, ok, stride, W: tl.constexpr, WP: tl.constexpr, first, DTYPE: tl.constexpr):
    """(BT,WP) from ptr + t * stride, as DTYPE: columns first .. first + WP of W, zero elsewhere."""
    col = first + tl.arange(0, WP)
    where = ptr + t[:, None] * stride + col[None, :]
    return tl.load(where, mask=ok[:, None] & (col < W)[None, :], other=0.0).to(DTYPE)


@triton.jit
def rows_T(ptr, t, ok, stride, W: tl.constexpr, WP: tl.constexpr, first, DTYPE: tl.constexpr):
    """The same the other way round, (WP,BT)."""
    col = first + tl.arange(0, WP)
    where = ptr + t[None, :] * stride + col[:, None]
    return tl.load(where, mask=ok[None, :] & (col < W)[:, None], other=0.0).to(DTYPE)


@triton.jit
def segment_sums(x_ptr, u_ptr, mask_ptr, scale_ptr, weight_ptr, S_ptr, z_ptr, table_ptr, H,
                 D: tl.constexpr, V: tl.constexpr, F: tl.constexpr, SCALE: tl.constexpr, MAP: tl.constexpr,
                 FP: tl.constexpr, HEAD: tl.constexpr, TAIL: tl.constexpr, BV: tl.constexpr, BT: tl.constexpr,
                 MASKED: tl.constexpr, WEIGHTED: tl.constexpr, SPLIT: tl.constexpr,
                 DOT: tl.constexpr, PRECISION: tl.constexpr):  # fmt: skip
    """Per segment S = sum_t phi(x_t) u_t^T and z = sum_t phi(x_t); WEIGHTED: u_t times scale_t, z with weight_t.

    Grid (G, H, groups of HEAD + TAIL features times tiles of BV values).  Writes S (G,H,F,V), z (G,H,F).
    SPLIT: in a segment of few keys what rounding took from the features is added in a second sweep, because
    few rounded features are not a positive kernel.
    """
    g, h = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    tiles: tl.constexpr = (V + BV - 1) // BV
    group, v0 = tl.program_id(2) // tiles, (tl.program_id(2) % tiles) * BV
    start, end = tl.load(table_ptr + 3 * g + 1), tl.load(table_ptr + 3 * g + 2)
    n = (end - start).to(tl.int32)
    x_ptr += (start * H + h) * D
    u_ptr += (start * H + h) * V
    inside = (tl.arange(0, FP) < D)[:, None]
    j = group * (HEAD + TAIL) + tl.arange(0, HEAD)
    S, z = tl.zeros((HEAD, BV), tl.float32), tl.zeros((HEAD,), tl.float32)
    if TAIL:
        j_tail = group * (HEAD + TAIL) + HEAD + tl.arange(0, TAIL)
        S_tail, z_tail = tl.zeros((TAIL, BV), tl.float32), tl.zeros((TAIL,), tl.float32)
    keys = 0.0
    for t0 in range(0, n, BT):
        t = t0 + tl.arange(0, BT)
        ok = real(mask_ptr, start, t, n, MASKED)
        xT = mapped(rows_T(x_ptr, t, ok, H * D, D, FP, 0, DOT), inside, MAP)
        seen = ok
        if WEIGHTED:
            seen = t < n
        u = rows(u_ptr, t, seen, H * V, V, BV, v0, DOT)
        weight = ok.to(tl.float32)
        keys += tl.sum(weight)
        if WEIGHTED:
            at = (start + t) * H + h
            u = (u.to(tl.float32) * tl.load(scale_ptr + at, mask=t < n, other=0.0)[:, None]).to(DOT)
            weight = tl.load(weight_ptr + at, mask=t < n, other=0.0)
        phi = features_T(xT, j, D, F, SCALE, MAP, FP, DOT, PRECISION)
        if not WEIGHTED:
            phi = tl.where(ok[None, :], phi, 0.0)
        S = tl.dot(phi.to(DOT), u.to(DOT), S, input_precision=PRECISION)
        z += tl.sum(phi * weight[None, :], 1)
        if TAIL:
            phi = features_T(xT, j_tail, D, F, SCALE, MAP, FP, DOT, PRECISION)
            if not WEIGHTED:
                phi = tl.where(ok[None, :], phi, 0.0)
            S_tail = tl.dot(phi.to(DOT), u.to(DOT), S_tail, input_precision=PRECISION)
            z_tail += tl.sum(phi * weight[None, :], 1)
    if SPLIT:  # decided when compiled, the next one when run  # noqa: SIM102
        if keys < FEW_KEYS:
            for t0 in range(0, n, BT):
                t = t0 + tl.arange(0, BT)
                ok = real(mask_ptr, start, t, n, MASKED)
                xT = mapped(rows_T(x_ptr, t, ok, H * D, D, FP, 0, DOT), inside, MAP)
                u = rows(u_ptr, t, ok, H * V, V, BV, v0, DOT)
                phi = features_T(xT, j, D, F, SCALE, MAP, FP, DOT, PRECISION)
                phi = tl.where(ok[None, :], phi - phi.to(DOT).to(tl.float32), 0.0)
                S = tl.dot(phi.to(DOT), u.to(DOT), S, input_precision=PRECISION)
                if TAIL:
                    phi = features_T(xT, j_tail, D, F, SCALE, MAP, FP, DOT, PRECISION)
                    phi = tl.where(ok[None, :], phi - phi.to(DOT).to(tl.float32), 0.0)
                    S_tail = tl.dot(phi.to(DOT), u.to(DOT), S_tail, input_precision=PRECISION)
    store_state(S_ptr, z_ptr, g * H + h, S, z, j, v0, V, F, BV)
    if TAIL:
        store_state(S_ptr, z_ptr, g * H + h, S_tail, z_tail, j_tail, v0, V, F, BV)


@triton.jit
def store_state(S_ptr, z_ptr, at, S, z, j, v0, V: tl.constexpr, F: tl.constexpr, BV: tl.constexpr):
    """Rows j of one head's S (BF,BV) from column v0, and of its z with the first tile of values."""
    col = v0 + tl.arange(0, BV)
    where = S_ptr + at * F * V + j[:, None] * V + col[None, :]
    tl.store(where, S, mask=(j < F)[:, None] & (col < V)[None, :])
    tl.store(z_ptr + at * F + j, z, mask=(j < F) & (v0 == 0))


@triton.jit
def scan(sums_ptr, first_ptr, initial_ptr, final_ptr, H, E,
         INITIAL: tl.constexpr, REVERSE: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """Sums of segments become, in place, what came before each of them (REVERSE: after); final (N,H,E) is all of it.

    Grid (N, H, tiles of BLOCK numbers).  sums (G,H,E); first (N+1): a sequence's first segment.
    """
    s, h = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    e = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    inside = e < E
    low, high = tl.load(first_ptr + s), tl.load(first_ptr + s + 1)
    n = (high - low).to(tl.int32)
    run = tl.zeros((BLOCK,), tl.float32)
    if INITIAL:
        run = tl.load(initial_ptr + (s * H + h) * E + e, mask=inside, other=0.0)
    for i in range(0, n):
        g = low + i
        if REVERSE:
            g = high - 1 - i
        at = sums_ptr + (g * H + h) * E + e
        part = tl.load(at, mask=inside, other=0.0)
        tl.store(at, run, mask=inside)
        run += part
    tl.store(final_ptr + (s * H + h) * E + e, run, mask=inside)


@triton.jit
def guarded(den, guard, CAN_VANISH: tl.constexpr):
    """The normaliser as the map guards it."""
    if CAN_VANISH:
        den = tl.maximum(tl.abs(den), guard)
    return den + EPS


@triton.jit
def attend(q_ptr, k_ptr, v_ptr, mask_ptr, S_ptr, z_ptr, y_ptr, den_ptr, table_ptr, H, guard,
           D: tl.constexpr, V: tl.constexpr, F: tl.constexpr, SCALE: tl.constexpr, MAP: tl.constexpr,
           FP: tl.constexpr, BF: tl.constexpr, BV: tl.constexpr, BT: tl.constexpr, BK: tl.constexpr, L: tl.constexpr,
           MASKED: tl.constexpr, NORMALISE: tl.constexpr, CAN_VANISH: tl.constexpr, SPLIT: tl.constexpr,
           DOT: tl.constexpr, PRECISION: tl.constexpr):  # fmt: skip
    """y_t = (sum over keys of the segment up to t + phi(q_t) S) / (the same without values), equations 1 to 3.

    Grid (G times blocks of BT tokens in a segment of L, H, tiles of BV values); S (G,H,F,V), z (G,H,F) at the
    segments' starts.  Writes y (tokens,H,V) and the normaliser before its guard, den (tokens,H).  The normaliser
    is summed in float32: over the keys of the segment from the weights that their values get, rounded as those are
    (a lone key gives back its value), over the state from features that nothing rounded.  SPLIT: behind few keys the
    products with the state are made of two parts each, what rounding leaves and what it takes (the Taylor map counts
    its keys in z_0).
    """
    blocks: tl.constexpr = L // BT
    g, h = (tl.program_id(0) // blocks).to(tl.int64), tl.program_id(1).to(tl.int64)
    t0, v0 = (tl.program_id(0) % blocks) * BT, tl.program_id(2) * BV
    start, end = tl.load(table_ptr + 3 * g + 1), tl.load(table_ptr + 3 * g + 2)
    n = (end - start).to(tl.int32)
    if t0 < n:
        q_ptr += (start * H + h) * D
        k_ptr += (start * H + h) * D
        v_ptr += (start * H + h) * V
        S_ptr += (g * H + h) * F * V
        z_ptr += (g * H + h) * F
        column = tl.arange(0, FP) < D
        t = t0 + tl.arange(0, BT)
        q = rows(q_ptr, t, real(mask_ptr, start, t, n, MASKED), H * D, D, FP, 0, DOT)
        q = mapped(q, column[None, :], MAP)
        num, den = tl.zeros((BT, BV), tl.float32), tl.zeros((BT,), tl.float32)
        for j0 in range(0, F, BF):
            j = j0 + tl.arange(0, BF)
            phi = features(q, j, D, F, SCALE, MAP, FP, DOT, PRECISION)
            S = rows(S_ptr, j, j < F, V, V, BV, v0, tl.float32)
            z = tl.load(z_ptr + j, mask=j < F, other=0.0)
            num = tl.dot(phi.to(DOT), S.to(DOT), num, input_precision=PRECISION)
            den += tl.sum(phi * z[None, :], 1)
        if SPLIT:  # noqa: SIM102
            if tl.load(z_ptr) < FEW_KEYS:
                for j0 in range(0, F, BF):
                    j = j0 + tl.arange(0, BF)
                    phi = features(q, j, D, F, SCALE, MAP, FP, DOT, PRECISION)
                    S = rows(S_ptr, j, j < F, V, V, BV, v0, tl.float32)
                    low = S - S.to(DOT).to(tl.float32)
                    num = tl.dot(phi.to(DOT), low.to(DOT), num, input_precision=PRECISION)
                    phi = phi - phi.to(DOT).to(tl.float32)
                    num = tl.dot(phi.to(DOT), S.to(DOT), num, input_precision=PRECISION)
        for s0 in range(0, tl.minimum(t0 + BT, n), BK):
            s = s0 + tl.arange(0, BK)
            ok = real(mask_ptr, start, s, n, MASKED)
            kT = mapped(rows_T(k_ptr, s, ok, H * D, D, FP, 0, DOT), column[:, None], MAP)
            near = similarity(tl.dot(q.to(DOT), kT.to(DOT), input_precision=PRECISION), SCALE, MAP)
            near = tl.where((s[None, :] <= t[:, None]) & ok[None, :], near, 0.0).to(DOT)
            v = rows(v_ptr, s, ok, H * V, V, BV, v0, DOT)
            num = tl.dot(near, v.to(DOT), num, input_precision=PRECISION)
            den += tl.sum(near.to(tl.float32), 1)
        if NORMALISE:
            num = num / guarded(den, guard, CAN_VANISH)[:, None]
        col = v0 + tl.arange(0, BV)
        where = y_ptr + (start * H + h) * V + t[:, None] * (H * V) + col[None, :]
        tl.store(where, num.to(y_ptr.dtype.element_ty), mask=(t < n)[:, None] & (col < V)[None, :])
        tl.store(den_ptr + (start + t) * H + h, den, mask=(t < n) & (v0 == 0))


@triton.jit
def grad_normaliser(dy_ptr, y_ptr, den_ptr, scale_ptr, weight_ptr, rows_in_all, guard,
                    V: tl.constexpr, VP: tl.constexpr, BT: tl.constexpr,
                    NORMALISE: tl.constexpr, CAN_VANISH: tl.constexpr):  # fmt: skip
    """For every (token, head): scale with d numerator = scale dy, and weight = d normaliser."""
    r = tl.program_id(0).to(tl.int64) * BT + tl.arange(0, BT)
    ok = r < rows_in_all
    scale, weight = tl.zeros((BT,), tl.float32) + 1.0, tl.zeros((BT,), tl.float32)
    if NORMALISE:
        den = tl.load(den_ptr + r, mask=ok, other=1.0)
        dy, y = rows(dy_ptr, r, ok, V, V, VP, 0, tl.float32), rows(y_ptr, r, ok, V, V, VP, 0, tl.float32)
        scale = 1.0 / guarded(den, guard, CAN_VANISH)
        weight = -tl.sum(dy * y, 1) * scale
        if CAN_VANISH:
            weight = tl.where(tl.abs(den) > guard, tl.where(den < 0, -weight, weight), 0.0)
    tl.store(scale_ptr + r, scale, mask=ok)
    tl.store(weight_ptr + r, weight, mask=ok)


@triton.jit
def grad_q(q_ptr, k_ptr, v_ptr, mask_ptr, dy_ptr, scale_ptr, weight_ptr, S_ptr, z_ptr, dq_ptr, table_ptr, H,
           D: tl.constexpr, V: tl.constexpr, F: tl.constexpr, SCALE: tl.constexpr, MAP: tl.constexpr,
           FP: tl.constexpr, VP: tl.constexpr, BF: tl.constexpr, BT: tl.constexpr, BK: tl.constexpr, L: tl.constexpr,
           MASKED: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr):  # fmt: skip
    """dq: through the features against the state at the segment's start, through the scores inside the segment.

    Grid (G times blocks of BT tokens in a segment of L, H).
    """
    blocks: tl.constexpr = L // BT
    g, h = (tl.program_id(0) // blocks).to(tl.int64), tl.program_id(1).to(tl.int64)
    t0 = (tl.program_id(0) % blocks) * BT
    start, end = tl.load(table_ptr + 3 * g + 1), tl.load(table_ptr + 3 * g + 2)
    n = (end - start).to(tl.int32)
    if t0 < n:
        q_ptr += (start * H + h) * D
        k_ptr += (start * H + h) * D
        v_ptr += (start * H + h) * V
        S_ptr += (g * H + h) * F * V
        z_ptr += (g * H + h) * F
        column = tl.arange(0, FP) < D
        t = t0 + tl.arange(0, BT)
        ok_q = real(mask_ptr, start, t, n, MASKED)
        x = rows(q_ptr, t, ok_q, H * D, D, FP, 0, DOT)
        q = mapped(x, column[None, :], MAP)
        at = (start + t) * H + h
        scale = tl.load(scale_ptr + at, mask=t < n, other=0.0)
        weight = tl.load(weight_ptr + at, mask=t < n, other=0.0)
        dnum = rows(dy_ptr + (start * H + h) * V, t, t < n, H * V, V, VP, 0, DOT).to(tl.float32) * scale[:, None]
        du = tl.zeros((BT, FP), tl.float32)
        for j0 in range(0, F, BF):
            j = j0 + tl.arange(0, BF)
            S_T = rows_T(S_ptr, j, j < F, V, V, VP, 0, tl.float32)
            z = tl.load(z_ptr + j, mask=j < F, other=0.0)
            dphi = tl.dot(dnum.to(DOT), S_T.to(DOT), input_precision=PRECISION) + weight[:, None] * z[None, :]
            du += through_features(dphi, q, j, D, F, SCALE, MAP, FP, DOT, PRECISION)
        for s0 in range(0, tl.minimum(t0 + BT, n), BK):
            s = s0 + tl.arange(0, BK)
            ok = real(mask_ptr, start, s, n, MASKED)
            kT = mapped(rows_T(k_ptr, s, ok, H * D, D, FP, 0, DOT), column[:, None], MAP)
            k = mapped(rows(k_ptr, s, ok, H * D, D, FP, 0, DOT), column[None, :], MAP)
            vT = rows_T(v_ptr, s, ok, H * V, V, VP, 0, DOT)
            inner = tl.dot(q.to(DOT), kT.to(DOT), input_precision=PRECISION)
            d = tl.dot(dnum.to(DOT), vT.to(DOT), input_precision=PRECISION) + weight[:, None]
            d = d * similarity_slope(inner, SCALE, MAP)
            d = tl.where((s[None, :] <= t[:, None]) & ok[None, :], d, 0.0)
            du = tl.dot(d.to(DOT), k.to(DOT), du, input_precision=PRECISION)
        store_grad(dq_ptr + (start * H + h) * D, du * slope(x, MAP), t, t < n, ok_q, H * D, D, FP)


@triton.jit
def store_grad(ptr, grad, t, inside, ok, stride, W: tl.constexpr, WP: tl.constexpr):
    """(BT,WP) to ptr + t * stride; zero at masked tokens."""
    col = tl.arange(0, WP)
    grad = tl.where(ok[:, None], grad, 0.0).to(ptr.dtype.element_ty)
    tl.store(ptr + t[:, None] * stride + col[None, :], grad, mask=inside[:, None] & (col < W)[None, :])


@triton.jit
def grad_kv(q_ptr, k_ptr, v_ptr, mask_ptr, dy_ptr, scale_ptr, weight_ptr, dS_ptr, dz_ptr, dk_ptr, dv_ptr, table_ptr, H,
            D: tl.constexpr, V: tl.constexpr, F: tl.constexpr, SCALE: tl.constexpr, MAP: tl.constexpr,
            FP: tl.constexpr, VP: tl.constexpr, BF: tl.constexpr, BT: tl.constexpr, BK: tl.constexpr, L: tl.constexpr,
            MASKED: tl.constexpr, PREFIX: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr):  # fmt: skip
    """dk and dv: through the gradient of the state at the segment's end, and inside the segment from later queries.

    Grid (G times blocks of BK tokens in a segment of L, H).  dS (G,H,F,V), dz (G,H,F).  PREFIX: no queries, and
    the gradient of one state for all segments of a sequence, dS (N,H,F,V), dz (N,H,F).
    """
    blocks: tl.constexpr = L // BK
    g, h = (tl.program_id(0) // blocks).to(tl.int64), tl.program_id(1).to(tl.int64)
    s0 = (tl.program_id(0) % blocks) * BK
    start, end = tl.load(table_ptr + 3 * g + 1), tl.load(table_ptr + 3 * g + 2)
    n = (end - start).to(tl.int32)
    if s0 < n:
        state = g
        if PREFIX:
            state = tl.load(table_ptr + 3 * g)
        k_ptr += (start * H + h) * D
        v_ptr += (start * H + h) * V
        dS_ptr += (state * H + h) * F * V
        dz_ptr += (state * H + h) * F
        column = tl.arange(0, FP) < D
        s = s0 + tl.arange(0, BK)
        ok = real(mask_ptr, start, s, n, MASKED)
        x = rows(k_ptr, s, ok, H * D, D, FP, 0, DOT)
        k = mapped(x, column[None, :], MAP)
        v = rows(v_ptr, s, ok, H * V, V, VP, 0, DOT)
        du, dv = tl.zeros((BK, FP), tl.float32), tl.zeros((BK, VP), tl.float32)
        for j0 in range(0, F, BF):
            j = j0 + tl.arange(0, BF)
            phi = features(k, j, D, F, SCALE, MAP, FP, DOT, PRECISION)
            dS = rows(dS_ptr, j, j < F, V, V, VP, 0, tl.float32)
            dS_T = rows_T(dS_ptr, j, j < F, V, V, VP, 0, tl.float32)
            dz = tl.load(dz_ptr + j, mask=j < F, other=0.0)
            dv = tl.dot(phi.to(DOT), dS.to(DOT), dv, input_precision=PRECISION)
            dphi = tl.dot(v.to(DOT), dS_T.to(DOT), input_precision=PRECISION) + dz[None, :]
            du += through_features(dphi, k, j, D, F, SCALE, MAP, FP, DOT, PRECISION)
        if not PREFIX:
            q_ptr += (start * H + h) * D
            dy_ptr += (start * H + h) * V
            for t0 in range(s0 // BT * BT, n, BT):
                t = t0 + tl.arange(0, BT)
                ok_q = real(mask_ptr, start, t, n, MASKED)
                qT = mapped(rows_T(q_ptr, t, ok_q, H * D, D, FP, 0, DOT), column[:, None], MAP)
                q = mapped(rows(q_ptr, t, ok_q, H * D, D, FP, 0, DOT), column[None, :], MAP)
                scale = tl.load(scale_ptr + (start + t) * H + h, mask=t < n, other=0.0)
                weight = tl.load(weight_ptr + (start + t) * H + h, mask=t < n, other=0.0)
                dnum = rows(dy_ptr, t, t < n, H * V, V, VP, 0, DOT).to(tl.float32) * scale[:, None]
                dnum_T = rows_T(dy_ptr, t, t < n, H * V, V, VP, 0, DOT).to(tl.float32) * scale[None, :]
                inner = tl.dot(k.to(DOT), qT.to(DOT), input_precision=PRECISION)
                seen = (s[:, None] <= t[None, :]) & (t < n)[None, :]
                near = tl.where(seen, similarity(inner, SCALE, MAP), 0.0)
                dv = tl.dot(near.to(DOT), dnum.to(DOT), dv, input_precision=PRECISION)
                d = tl.dot(v.to(DOT), dnum_T.to(DOT), input_precision=PRECISION) + weight[None, :]
                d = tl.where(seen, d * similarity_slope(inner, SCALE, MAP), 0.0)
                du = tl.dot(d.to(DOT), q.to(DOT), du, input_precision=PRECISION)
        store_grad(dk_ptr + (start * H + h) * D, du * slope(x, MAP), s, s < n, ok, H * D, D, FP)
        store_grad(dv_ptr + (start * H + h) * V, dv, s, s < n, ok, H * V, V, VP)


@triton.jit
def taken(ptr, which, ok, D: tl.constexpr, MAP: tl.constexpr):
    """Entries of one vector (of zeros where not ok), mapped; ones where the number is -1."""
    x = tl.load(ptr + which, mask=ok & (which >= 0), other=0.0).to(tl.float32)
    return tl.where(which < 0, 1.0, mapped(x, which < D, MAP))


@triton.jit
def step(q_ptr, k_ptr, v_ptr, mask_ptr, S_ptr, z_ptr, y_ptr, S_out_ptr, z_out_ptr, H, guard,
         D: tl.constexpr, V: tl.constexpr, F: tl.constexpr, SCALE: tl.constexpr, MAP: tl.constexpr,
         BF: tl.constexpr, BV: tl.constexpr, MASKED: tl.constexpr, INITIAL: tl.constexpr,
         NORMALISE: tl.constexpr, CAN_VANISH: tl.constexpr):  # fmt: skip
    """One token per row: the state is read once, with the token added written once, and asked on the way.

    Grid (B, H, tiles of BV values).  No matrix unit: float32 throughout.  The given state is not changed.
    """
    at = tl.program_id(0).to(tl.int64) * H + tl.program_id(1)
    v0 = tl.program_id(2) * BV
    col = v0 + tl.arange(0, BV)
    ok = True
    if MASKED:
        ok = tl.load(mask_ptr + tl.program_id(0)) != 0
    v = tl.load(v_ptr + at * V + col, mask=(col < V) & ok, other=0.0).to(tl.float32)
    num, den = tl.zeros((BV,), tl.float32), 0.0
    for j0 in range(0, F, BF):
        j = j0 + tl.arange(0, BF)
        first, second, weight = factors(j, D, F, SCALE, MAP)
        row = (j < F) & ok
        phi_k = taken(k_ptr + at * D, first, row, D, MAP) * taken(k_ptr + at * D, second, row, D, MAP)
        phi_k = tl.where(row, phi_k * weight, 0.0)
        phi_q = taken(q_ptr + at * D, first, row, D, MAP) * taken(q_ptr + at * D, second, row, D, MAP) * weight
        where = at * F * V + j[:, None] * V + col[None, :]
        inside = (j < F)[:, None] & (col < V)[None, :]
        S, z = phi_k[:, None] * v[None, :], phi_k
        if INITIAL:
            S += tl.load(S_ptr + where, mask=inside, other=0.0)
            z += tl.load(z_ptr + at * F + j, mask=j < F, other=0.0)
        tl.store(S_out_ptr + where, S, mask=inside)
        tl.store(z_out_ptr + at * F + j, z, mask=(j < F) & (v0 == 0))
        num += tl.sum(phi_q[:, None] * S, 0)
        den += tl.sum(phi_q * z)
    if NORMALISE:
        num = num / guarded(den, guard, CAN_VANISH)
    tl.store(y_ptr + at * V + col, num.to(y_ptr.dtype.element_ty), mask=col < V)
