"""The attention function: softmax(q k^T / sqrt(d_head) + bias) v, and its derivative."""

import math

import numpy as np
from jaxtyping import Float

from lm.reference.activations import softmax
from lm.reference.dropout import Dropout

# Query head h reads key/value head h // group, so queries are laid out as (n_kv_heads, group) heads.
Queries = Float[np.ndarray, "batch kv_heads group query d_head"]
Keys = Float[np.ndarray, "batch kv_heads 1 key d_head"]


Bias = Float[np.ndarray, "#batch #kv_heads #group query key"]


def attention_weights(q: Queries, k: Keys, bias: Bias | None) -> Float[np.ndarray, "batch kv_heads group query key"]:
    """The weight of each key for each query: softmax(q k^T / sqrt(d_head) + bias). Each row sums to 1."""
    scores = q * (1 / math.sqrt(q.shape[-1])) @ k.mT
    return softmax(scores if bias is None else scores + bias)


class Attend:
    """y = softmax(s) v with s = q k^T / sqrt(d) + bias (Vaswani et al. 2017, eq. 1, https://arxiv.org/abs/1706.03762).

    With e = exp(s - max s) and z = sum(e) over the keys, y = (e v) / z. Dividing the result instead of the weights
    saves a pass over the largest array. With g = dy / z, the derivation (docs/theory/attention.md) gives:
    dv = e^T g, ds = e (g v^T - sum(g y)), dq = ds k / sqrt(d), dk = ds^T q / sqrt(d).
    Dropout acts on the weights e / z. So `forward` applies it to e before the product with v, and `backward` applies it
    to g v^T.
    """

    def __init__(self, dropout: float) -> None:
        self.dropout = Dropout(dropout)

    def forward(
        self,
        q: Queries,
        k: Keys,
        v: Keys,
        bias: Bias | None,
        generator: np.random.Generator | None,
    ) -> Queries:
        """The weighted sum of the values for each query."""
        self._q, self._k, self._v = q * (1 / math.sqrt(q.shape[-1])), k, v
        e = self._q @ k.mT
        if bias is not None:
            e += bias
        e -= e.max(-1, keepdims=True)
        np.exp(e, out=e)
        self._e, self._z = e, e.sum(-1, keepdims=True)
        self._dropped = self.dropout.forward(e, generator)
        self._y = self._dropped @ v
        self._y /= self._z
        return self._y

    def backward(self, dy: Queries) -> tuple[Queries, Keys, Keys]:
        """The gradients of q, k and v."""
        g = dy / self._z
        dv = self._dropped.mT @ g
        ds = self.dropout.backward(g @ self._v.mT)
        ds -= np.vecdot(g, self._y)[..., None]
        ds *= self._e
        dq = ds @ self._k
        dq *= 1 / math.sqrt(dq.shape[-1])
        dk = ds.mT @ self._q
        # All query heads of a group read the same key/value head, so their gradients are summed.
        return dq, dk.sum(2, keepdims=True), dv.sum(2, keepdims=True)
