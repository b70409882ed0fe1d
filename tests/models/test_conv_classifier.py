"""The convolutional classifier against loops over pixels."""

import math

import pytest
import torch

from drawnet.models.conv_classifier import ConvClassifier, ConvClassifierConfig

from .small_classifiers import images_and_labels, small_conv_classifier


def convolved(planes: list, weight: list, bias: list, stride: int) -> list:
    """A convolution and ReLU in Python floats, `[map][row][column]`."""
    size, maps = len(weight[0][0]), []
    num_rows = (len(planes[0]) - size) // stride + 1
    num_columns = (len(planes[0][0]) - size) // stride + 1
    for kernels, start in zip(weight, bias, strict=True):
        rows = []
        for row in range(num_rows):
            line = []
            for column in range(num_columns):
                total = start
                for plane, kernel in zip(planes, kernels, strict=True):
                    for i in range(size):
                        for j in range(size):
                            total += kernel[i][j] * plane[row * stride + i][column * stride + j]
                line.append(max(0.0, total))
            rows.append(line)
        maps.append(rows)
    return maps


def pooled(planes: list) -> list:
    """The largest of every 2 x 2 values; an odd last row or column is pooled alone, `[map][row][column]`."""
    corners = [range(0, size, 2) for size in (len(planes[0]), len(planes[0][0]))]
    return [
        [[max(v for line in plane[i : i + 2] for v in line[j : j + 2]) for j in corners[1]] for i in corners[0]]
        for plane in planes
    ]


@pytest.mark.parametrize("num_channels", [1, 3])
def test_the_forward_pass_is_two_convolutions_pooling_and_a_hidden_layer(num_channels: int) -> None:
    model = small_conv_classifier(num_channels=num_channels)
    x, labels = images_and_labels(model, 2)
    w = {name: value.tolist() for name, value in model.state_dict().items()}
    nats = model.loss(x, labels).nats
    for n in range(len(x)):
        maps = convolved(x[n].tolist(), w["first.weight"], w["first.bias"], 2)
        maps = pooled(convolved(maps, w["second.weight"], w["second.bias"], 2))
        assert (len(maps[0]), len(maps[0][0])) == model.config.map_size
        values = [v for rows in maps for line in rows for v in line]
        for layer in ("hidden", "classify"):
            pairs = zip(w[f"{layer}.weight"], w[f"{layer}.bias"], strict=True)
            values = [b + sum(a * v for a, v in zip(row, values, strict=True)) for row, b in pairs]
            if layer == "hidden":
                values = [max(0.0, v) for v in values]
        log_total = math.log(sum(math.exp(v) for v in values))
        look = model.look(x)
        assert look.log_probs[n].tolist() == pytest.approx([v - log_total for v in values])
        assert look.glimpses == ()
        assert nats[n].item() == pytest.approx(log_total - values[labels[n]])


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"height": 8}, "kernel_size is 5: two such convolutions with stride 2 leave nothing of 8 x 100"),
        ({"stride": 0}, "stride is 0"),
        ({"num_channels": 2}, "num_channels is 2"),
    ],
)
def test_sizes_out_of_range_are_named(sizes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConvClassifierConfig(**sizes)


@pytest.mark.usefixtures("unchecked_shapes")
def test_images_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="x has shape"):
        ConvClassifier(ConvClassifierConfig(20, 20)).look(torch.rand(2, 1, 28, 28))
