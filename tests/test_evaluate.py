"""Evaluation: means, standard errors and importance weights against values worked out another way."""

import math

import pytest
import torch

from drawnet.data import Split
from drawnet.evaluate import BATCH_SIZE, Estimate, bits_per_dim, evaluate, evaluation_fields, spread_indices
from drawnet.models.draw import Draw
from drawnet.models.registry import build_model
from drawnet.models.vae import VAE, VAEConfig
from toy import TOY_MODELS, bars, toy_config


@pytest.fixture(scope="module")
def model() -> Draw:
    torch.manual_seed(0)
    return Draw(toy_config().model)


def test_the_mean_is_over_every_image_once(model: Draw) -> None:
    split = bars(BATCH_SIZE + 7, 3)
    result = evaluate(model, split, seed=4)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        nats = torch.cat(
            [model.nll(x, generator=generator).nats for x in split.batch(torch.arange(len(split))).split(BATCH_SIZE)]
        ).double()
    assert result.num_images == len(split)
    assert result.nats.mean == pytest.approx(nats.mean().item())
    variance = ((nats - nats.mean()) ** 2).sum() / (len(nats) - 1)
    assert result.nats.standard_error == pytest.approx(math.sqrt(variance / len(nats)))
    assert sum(result.parts.values()) == pytest.approx(result.nats.mean, rel=1e-6)
    assert result.kl_per_step is not None
    assert sum(result.kl_per_step) == pytest.approx(result.parts["kl"], rel=1e-6)
    assert len(result.kl_per_step) == 3
    assert not result.exact


def test_the_same_seed_gives_the_same_numbers_and_leaves_other_generators_alone(model: Draw) -> None:
    state = torch.get_rng_state()
    a, b, c = (evaluate(model, bars(30, 3), seed=seed, importance_samples=2) for seed in (1, 1, 2))
    assert evaluation_fields(a) == evaluation_fields(b)
    assert a.nats != c.nats
    assert torch.equal(state, torch.get_rng_state())


def test_one_importance_sample_is_the_bound_and_more_are_not_above_it(model: Draw) -> None:
    split = bars(200, 3)
    results = {k: evaluate(model, split, importance_samples=k) for k in (1, 5, 50)}
    estimates = {k: r.importance for k, r in results.items() if r.importance is not None}
    assert [e.num_samples for e in estimates.values()] == [1, 5, 50]
    noise = 4 * estimates[1].standard_error
    assert abs(estimates[1].mean - results[1].nats.mean) < noise
    assert estimates[50].mean <= estimates[5].mean + 0.02 <= estimates[1].mean + 0.04
    assert estimates[50].mean <= results[50].nats.mean + 0.02


def test_importance_weights_by_hand(model: Draw) -> None:
    split = bars(4, 3)
    result = evaluate(model, split, importance_samples=3, seed=9)
    generator = torch.Generator().manual_seed(9 + 2)
    x = split.batch(torch.arange(4))
    with torch.no_grad():
        log_w = [[-v for v in model.nll(x, generator=generator, kl="sampled").nats.tolist()] for _ in range(3)]
    expected = [-math.log(sum(math.exp(log_w[k][i]) for k in range(3)) / 3) for i in range(4)]
    assert result.importance is not None
    assert result.importance.mean == pytest.approx(sum(expected) / 4, rel=1e-5)
    assert result.nats == evaluate(model, split, seed=9).nats


def test_num_images_are_spread_over_a_split_that_may_be_sorted(model: Draw) -> None:
    split = bars(50, 3)
    every_fifth = Split(split.images[::5], split.max_value)
    assert evaluate(model, split, num_images=10).nats == evaluate(model, every_fifth).nats
    assert evaluate(model, split, num_images=1000).num_images == 50
    assert spread_indices(3, 10).tolist() == [0, 3, 6]
    assert spread_indices(10, 10).tolist() == list(range(10))


def test_float64_models_are_evaluated_in_float32() -> None:
    torch.manual_seed(0)
    double = Draw(toy_config().model).double()
    torch.manual_seed(0)
    single = Draw(toy_config().model)
    assert evaluate(double, bars(20, 1)).nats.mean == pytest.approx(evaluate(single, bars(20, 1)).nats.mean, abs=1e-4)


def test_bits_per_dim_of_a_coin_flip_is_one() -> None:
    assert bits_per_dim(784 * math.log(2), 784) == pytest.approx(1.0)


def test_one_image_has_no_standard_error() -> None:
    assert math.isnan(Estimate.of(torch.tensor([3.0])).standard_error)


@pytest.mark.parametrize(
    ("arguments", "message"), [({"importance_samples": -1}, "importance_samples"), ({"num_images": 0}, "num_images")]
)
def test_bad_numbers_are_refused(model: Draw, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(model, bars(3, 0), **arguments)


def test_an_exact_model_is_summed_and_has_nothing_to_weight() -> None:
    torch.manual_seed(0)
    model = build_model(TOY_MODELS["pixelrnn"])
    split = bars(30, 3)
    result = evaluate(model, split)
    assert result.exact
    with torch.no_grad():
        nats = model.nll(split.batch(torch.arange(30))).nats
    assert result.nats.mean == pytest.approx(nats.mean().item(), rel=1e-6)
    assert result.kl_per_step is None
    for name in ("importance_samples", "ais_temperatures", "posterior_samples"):
        with pytest.raises(ValueError, match=f"{name} is 3: PixelRNN has no latents"):
            evaluate(model, split, **{name: 3})


def test_refined_estimates_of_a_small_vae_agree_with_the_integral_over_its_latent() -> None:
    torch.manual_seed(0)
    model = VAE(VAEConfig(8, 8, 1, hidden_size=5, latent_size=1))
    split = bars(6, 3)
    result = evaluate(
        model, split, importance_samples=500, ais_temperatures=40, ais_chains=8, posterior_samples=300, seed=1
    )
    z = torch.linspace(-8, 8, 4001)[:, None]
    x = split.batch(torch.arange(6))
    with torch.no_grad():
        log_p = torch.stack([-model.decoder_nats(image.expand(4001, 1, 8, 8), z).double() for image in x])
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(z.double()).squeeze(1)
    exact = -(log_p + prior + math.log(16 / 4000)).logsumexp(1)
    truth = exact.mean().item()
    assert result.importance is not None
    assert result.annealed is not None
    assert result.posterior_density is not None
    assert result.nats.mean > truth
    assert result.importance.mean == pytest.approx(truth, abs=0.05)
    assert result.annealed.mean == pytest.approx(truth, abs=0.05)
    assert result.posterior_density.mean == pytest.approx(truth, abs=0.1)
    fields = evaluation_fields(result)
    assert fields["annealed"].keys() == {"mean", "standard_error", "num_temperatures", "num_chains"}
    assert fields["posterior_density"].keys() == {"mean", "standard_error", "num_samples"}


def test_annealing_runs_on_the_latents_of_draw(model: Draw) -> None:
    split = bars(3, 3)
    result = evaluate(model, split, ais_temperatures=30, ais_chains=4, importance_samples=500)
    assert result.annealed is not None
    assert result.importance is not None
    assert result.annealed.mean == pytest.approx(result.importance.mean, abs=0.5)
