"""The training loss, which is the cross-entropy in nats. Also the accuracy and the perplexity of predictions."""

import numpy as np
from jaxtyping import Float, Int


class CrossEntropy:
    """loss_n = -log softmax(z_n)[t_n] = log(sum_i e^(z_ni - m_n)) + m_n - z_n[t_n], for the logits z and targets t.

    With m_n = max(z_n) no exponential overflows and one of them is 1, so the logarithm is finite for logits of any
    size. The derivative of log-sum-exp is softmax, so dz_n = dloss_n (softmax(z_n) - onehot(t_n)).
    """

    def forward(
        self, logits: Float[np.ndarray, "*batch vocab"], targets: Int[np.ndarray, "*batch"]
    ) -> Float[np.ndarray, "*batch"]:
        """The loss of each prediction. Overwrites the logits, because they are by far the largest array of a step."""
        z = logits.reshape(-1, logits.shape[-1])
        self._targets = targets.reshape(-1)
        z -= z.max(-1, keepdims=True)
        at_target = z[np.arange(len(z)), self._targets]
        self._e = np.exp(z, out=z)
        self._total = self._e.sum(-1)
        return (np.log(self._total) - at_target).reshape(targets.shape)

    def backward(self, dloss: Float[np.ndarray, "*batch"]) -> Float[np.ndarray, "*batch vocab"]:
        """The gradient of the logits."""
        weight = dloss.reshape(-1)
        dz = self._e
        dz *= (weight / self._total)[:, None]
        dz[np.arange(len(dz)), self._targets] -= weight
        return dz.reshape(*dloss.shape, -1)


def accuracy(logits: Float[np.ndarray, "*batch vocab"], targets: Int[np.ndarray, "*batch"]) -> float:
    """The share of predictions whose largest logit is that of the target. Of equal logits the first is taken."""
    return float((logits.argmax(-1) == targets).mean())


def perplexity(mean_loss: float) -> float:
    """e^mean_loss, infinite where no number can hold it. A guess among so many equally likely tokens has this loss."""
    with np.errstate(over="ignore"):
        return float(np.exp(mean_loss))
