"""The importance-weighted bound of `evaluate` (Burda et al. 2015, eq. 8) against a model whose log p(x) is known."""

import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from drawnet.data import Split
from drawnet.evaluate import evaluate
from drawnet.models.vae import VAE
from drawnet.nn.likelihood import NegativeLogLikelihood
from estimators.linear_gaussian import LinearGaussian, log_normal

MODEL = LinearGaussian.drawn(4, 2, 0.6, seed=0)
X = MODEL.sample(1000, seed=1)
SPLIT = Split(X.reshape(1000, 1, 2, 2).float(), max_value=1)


class WrongEncoder(VAE):
    """The linear Gaussian model in a VAE's clothes; q is the posterior, moved and widened."""

    def __init__(self, shift: float, widening: float) -> None:
        nn.Module.__init__(self)
        self.shift, self.widening = nn.Parameter(torch.tensor(shift)), widening

    def nll(  # type: ignore[override]
        self, x: Tensor, *, generator: torch.Generator | None = None, kl: str = "exact"
    ) -> NegativeLogLikelihood:
        x = x.reshape(len(x), 4).double()
        posterior = MODEL.posterior(x)
        mean = posterior.mean + self.shift * posterior.stddev
        scale = posterior.covariance_matrix * self.widening
        q = MultivariateNormal(mean, scale)
        z = mean + (
            torch.linalg.cholesky(scale) @ torch.randn(len(x), 2, 1, generator=generator, dtype=torch.float64)
        ).squeeze(2)
        sampled = q.log_prob(z) - log_normal(z)
        return NegativeLogLikelihood({"reconstruction": -MODEL.log_likelihood(x)(z), "kl": sampled}, exact=False)


def test_the_bound_falls_towards_the_truth_with_k() -> None:
    truth = -MODEL.log_marginal(X).mean().item()
    model, gaps = WrongEncoder(shift=1.0, widening=1.5), []
    for k in (1, 3, 10, 100):
        result = evaluate(model, SPLIT, importance_samples=k).importance
        assert result is not None
        gaps.append(result.mean - truth)
    for smaller, larger in zip(gaps[1:], gaps[:-1], strict=True):
        assert smaller < larger + 0.01
    assert gaps[0] > 0.5  # what is expected of one sample is KL(q || posterior)
    assert gaps[1] < gaps[0] - 0.2
    assert abs(gaps[-1]) < 0.02


def test_one_sample_is_off_by_the_kl_of_q_from_the_posterior() -> None:
    """KL(N(m + s d, v S) || N(m, S)) with d the deviations, in closed form by torch."""
    shift, widening = 1.0, 1.5
    posterior = MODEL.posterior(X)
    q = MultivariateNormal(posterior.mean + shift * posterior.stddev, widening * posterior.covariance_matrix)
    kl = torch.distributions.kl_divergence(q, posterior).mean().item()
    result = evaluate(WrongEncoder(shift, widening), SPLIT, importance_samples=1).importance
    assert result is not None
    gap = result.mean + MODEL.log_marginal(X).mean().item()
    assert abs(gap - kl) < 4 * result.standard_error < 0.5


def test_the_posterior_itself_gives_the_truth_for_any_k() -> None:
    for k in (1, 4):
        result = evaluate(WrongEncoder(shift=0.0, widening=1.0), SPLIT, importance_samples=k).importance
        assert result is not None
        assert abs(result.mean + MODEL.log_marginal(X).mean().item()) < 1e-4
