"""Gradients of DRAW: whole, finite, equal to finite differences, and of use."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from drawnet.models.draw import Draw, DrawConfig

from .small_draw import every_variant, images_for, seeded, small_draw


@every_variant
def test_every_number_in_every_parameter_receives_gradient(read_size, write_size, num_channels):
    model = small_draw(read_size, write_size, num_channels)
    model.nll(images_for(model), generator=seeded()).nats.sum().backward()
    names = {name for name, _ in model.named_parameters()}
    assert {"canvas_0", "encoder_0", "decoder_0"} <= names
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert (parameter.grad != 0).all(), name


@pytest.mark.parametrize(("read_size", "write_size"), [(2, 2), (None, None)])
@pytest.mark.parametrize("kl", ["analytic", "sampled"])
def test_gradient_of_nll_equals_finite_differences(read_size, write_size, kl):
    model = small_draw(read_size, write_size, height=2, width=3, num_glimpses=2, hidden_size=2, latent_size=2)
    x = images_for(model, num_images=2)
    names, parameters = zip(*model.named_parameters(), strict=True)

    def parts(x: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
        likelihood = torch.func.functional_call(
            model, dict(zip(names, parameters, strict=True)), (x,), {"generator": seeded(), "kl": kl}
        )
        return tuple(likelihood.parts.values())

    model.forward = model.nll  # what functional_call runs
    assert torch.autograd.gradcheck(parts, (x.requires_grad_(), *parameters))


@pytest.mark.parametrize("scale", [1e2, 1e4, 1e6])
@pytest.mark.parametrize("side", ["read_attention", "write_attention"])
@pytest.mark.parametrize("name", ["weight", "bias"])
def test_windows_thrown_far_away_leave_nats_and_gradients_finite(side, name, scale):
    # A filter far outside the image sees the border pixel, whatever its place: it has no gradient to explode.
    model = small_draw(num_glimpses=32).float()
    with torch.no_grad():
        getattr(getattr(model, side).linear, name).mul_(scale)
    nats = model.nll(images_for(model).float(), generator=seeded()).nats
    assert nats.isfinite().all()
    nats.sum().backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all(), parameter_name


def bars(num_images: int, generator: torch.Generator) -> Tensor:
    """8 x 8 images with one horizontal and one vertical bar."""
    row, column = (torch.randint(8, (num_images,), generator=generator) for _ in range(2))
    pixels = torch.arange(8)
    horizontal, vertical = (pixels == row[:, None])[:, None, :, None], (pixels == column[:, None])[:, None, None, :]
    return (horizontal | vertical).float()


@pytest.mark.parametrize(("read_size", "write_size"), [(3, 3), (None, None)])
def test_learning_beats_independent_pixels(read_size, write_size):
    torch.manual_seed(0)
    config = DrawConfig(
        height=8,
        width=8,
        num_glimpses=4,
        hidden_size=32,
        latent_size=4,
        read_size=read_size,
        write_size=write_size,
    )
    model = Draw(config)
    generator = seeded()
    mean_image = bars(2000, generator).mean(0)
    # The best that a model without z can do: the entropy of independent pixels.
    independent_nats = torch.distributions.Bernoulli(mean_image).entropy().sum()
    model.start_canvas_at(mean_image)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        model.nll(bars(64, generator), generator=generator).nats.mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
    with torch.no_grad():
        likelihood = model.nll(bars(500, generator), generator=generator)
    assert likelihood.nats.mean() < independent_nats - 8
    assert likelihood.parts["kl"].sum(1).mean() > 1
