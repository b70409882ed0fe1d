"""DRAW once more, written from the paper's equations alone: loops over pixels, filters and units, in Python floats.

Nothing here is shared with the package. Pixels, filters and latents are counted from 1 in the equations, so a list
holds x_1 at index 0. One image at a time; images are nested lists `[channel][row][column]`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

Image = list[list[list[float]]]


@dataclass
class Drawing:
    """What the loops found for one image, one entry a step."""

    reconstruction: float = 0.0  # Lx, nats
    kl: list[float] = field(default_factory=list)  # Lz split by step, nats
    log_ratio: list[float] = field(default_factory=list)  # log Q(z_t) - log P(z_t)
    canvases: list[Image] = field(default_factory=list)  # c_t, logits
    reads: list[tuple[float, ...]] = field(default_factory=list)  # gX, gY, delta, sigma, gamma
    writes: list[tuple[float, ...]] = field(default_factory=list)


def logistic(v: float) -> float:
    return 1 / (1 + math.exp(-v))


def normal_log_density(v: float, mu: float, sigma: float) -> float:
    return -0.5 * math.log(2 * math.pi) - math.log(sigma) - (v - mu) ** 2 / (2 * sigma**2)


def filter_row(mu: float, variance: float, num_pixels: int) -> list[float]:
    """One row of F_X or F_Y, (25, 26)."""
    row = [math.exp(-((a - mu) ** 2) / (2 * variance)) for a in range(1, num_pixels + 1)]
    total = sum(row)
    return [v / total for v in row]


def filters(g: float, delta: float, variance: float, n: int, num_pixels: int) -> list[list[float]]:
    """F_X or F_Y: (19, 20) and (25, 26)."""
    return [filter_row(g + (i - n / 2 - 0.5) * delta, variance, num_pixels) for i in range(1, n + 1)]


def window(five: list[float], n: int, height: int, width: int) -> tuple[float, ...]:
    """(21-24): gX, gY, delta, sigma, gamma."""
    gx_tilde, gy_tilde, log_variance, log_delta_tilde, log_gamma = five
    gx = (width + 1) / 2 * (gx_tilde + 1)
    gy = (height + 1) / 2 * (gy_tilde + 1)
    delta = (max(width, height) - 1) / (n - 1) * math.exp(log_delta_tilde)
    return gx, gy, delta, math.sqrt(math.exp(log_variance)), math.exp(log_gamma)


def read_plane(plane: list[list[float]], where: tuple[float, ...], n: int) -> list[list[float]]:
    """gamma F_Y x F_X^T, (27), one channel."""
    gx, gy, delta, sigma, gamma = where
    height, width = len(plane), len(plane[0])
    f_x, f_y = filters(gx, delta, sigma**2, n, width), filters(gy, delta, sigma**2, n, height)
    patch = [[0.0] * n for _ in range(n)]
    for j in range(n):
        for i in range(n):
            for b in range(height):
                for a in range(width):
                    patch[j][i] += gamma * f_y[j][b] * plane[b][a] * f_x[i][a]
    return patch


def write_plane(w: list[list[float]], where: tuple[float, ...], height: int, width: int) -> list[list[float]]:
    """1/gamma F_Y^T w F_X, (29), one channel."""
    gx, gy, delta, sigma, gamma = where
    n = len(w)
    f_x, f_y = filters(gx, delta, sigma**2, n, width), filters(gy, delta, sigma**2, n, height)
    plane = [[0.0] * width for _ in range(height)]
    for b in range(height):
        for a in range(width):
            for j in range(n):
                for i in range(n):
                    plane[b][a] += f_y[j][b] * w[j][i] * f_x[i][a] / gamma
    return plane


class SlowDraw:
    """DRAW with the weights of a `Draw`.

    Args:
        model: read through its `state_dict` and its sizes only.
    """

    def __init__(self, model) -> None:
        self.config = model.config
        self.weights = {name: value.tolist() for name, value in model.state_dict().items()}

    def linear(self, name: str, inputs: list[float]) -> list[float]:
        """One of the paper's W: a matrix and a bias."""
        outputs = []
        for row, bias in zip(self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], strict=True):
            outputs.append(bias + sum(w * v for w, v in zip(row, inputs, strict=True)))
        return outputs

    def lstm(self, name: str, inputs: list[float], h: list[float], c: list[float]) -> tuple[list[float], list[float]]:
        """An LSTM with forget gates and no peepholes; the rows of the matrices are stacked i, f, g, o."""
        w_in, w_h = self.weights[f"{name}.weight_ih"], self.weights[f"{name}.weight_hh"]
        bias_in, bias_h = self.weights[f"{name}.bias_ih"], self.weights[f"{name}.bias_hh"]
        size = len(h)

        def gate(row: int) -> float:
            from_input = sum(w * v for w, v in zip(w_in[row], inputs, strict=True))
            from_hidden = sum(w * v for w, v in zip(w_h[row], h, strict=True))
            return from_input + from_hidden + bias_in[row] + bias_h[row]

        new_h, new_c = [], []
        for unit in range(size):
            i, f = logistic(gate(unit)), logistic(gate(size + unit))
            g, o = math.tanh(gate(2 * size + unit)), logistic(gate(3 * size + unit))
            new_c.append(f * c[unit] + i * g)
            new_h.append(o * math.tanh(new_c[unit]))
        return new_h, new_c

    def read(self, x: Image, x_hat: Image, h_dec: list[float], drawing: Drawing) -> list[float]:
        """(17) or (27): image before error image, channel by channel, row by row."""
        planes = [*x, *x_hat]
        n = self.config.read_size
        if n is not None:
            where = window(self.linear("read_attention.linear", h_dec), n, self.config.height, self.config.width)
            drawing.reads.append(where)
            planes = [read_plane(plane, where, n) for plane in planes]
        return [v for plane in planes for row in plane for v in row]

    def write(self, h_dec: list[float], drawing: Drawing) -> Image:
        """(18) or (29)."""
        height, width, n = self.config.height, self.config.width, self.config.write_size
        values = iter(self.linear("write", h_dec))
        rows, columns = (height, width) if n is None else (n, n)
        channels = range(self.config.num_channels)
        patches = [[[next(values) for _ in range(columns)] for _ in range(rows)] for _ in channels]
        if n is None:
            return patches
        where = window(self.linear("write_attention.linear", h_dec), n, height, width)
        drawing.writes.append(where)
        return [write_plane(w, where, height, width) for w in patches]

    def step_decoder(self, z, h_dec, cell_dec, c: Image, drawing: Drawing) -> tuple[list[float], list[float], Image]:
        """(7, 8), or (14, 15)."""
        h_dec, cell_dec = self.lstm("decoder", z, h_dec, cell_dec)
        written = self.write(h_dec, drawing)
        c = [
            [[c[k][b][a] + written[k][b][a] for a in range(len(c[k][b]))] for b in range(len(c[k]))]
            for k in range(len(c))
        ]
        drawing.canvases.append(c)
        return h_dec, cell_dec, c

    def generate(self, zs: list[list[float]]) -> Drawing:
        """The decoder and the writer alone, from given z_1..z_T."""
        drawing = Drawing()
        c = self.weights["canvas_0"]
        h_dec, cell_dec = self.weights["decoder_0"]
        for z in zs:
            h_dec, cell_dec, c = self.step_decoder(z, h_dec, cell_dec, c, drawing)
        return drawing

    def infer(self, x: Image, noise: list[list[float]]) -> Drawing:
        """Equations (3-11) for one image; noise is `[step][latent]`."""
        drawing = Drawing()
        c = self.weights["canvas_0"]
        h_enc, cell_enc = self.weights["encoder_0"]
        h_dec, cell_dec = self.weights["decoder_0"]
        for epsilon in noise:
            x_hat = [
                [[x[k][b][a] - logistic(c[k][b][a]) for a in range(len(x[k][b]))] for b in range(len(x[k]))]
                for k in range(len(x))
            ]  # (3)
            r = self.read(x, x_hat, h_dec, drawing)  # (4)
            h_enc, cell_enc = self.lstm("encoder", [*r, *h_dec], h_enc, cell_enc)  # (5)
            mu = self.linear("mu", h_enc)
            sigma = [math.exp(v) for v in self.linear("log_sigma", h_enc)]
            z = [m + s * e for m, s, e in zip(mu, sigma, epsilon, strict=True)]  # (6)
            drawing.kl.append(0.0)
            drawing.log_ratio.append(0.0)
            for m, s, v in zip(mu, sigma, z, strict=True):
                drawing.kl[-1] += (m**2 + s**2 - math.log(s**2) - 1) / 2  # (11)
                drawing.log_ratio[-1] += normal_log_density(v, m, s) - normal_log_density(v, 0, 1)
            h_dec, cell_dec, c = self.step_decoder(z, h_dec, cell_dec, c, drawing)  # (7, 8)
        drawing.reconstruction = bernoulli_nats(c, x)  # (9)
        return drawing


def bernoulli_nats(c: Image, x: Image) -> float:
    """-log D(x | c), (9)."""
    nats = 0.0
    for plane_c, plane_x in zip(c, x, strict=True):
        for row_c, row_x in zip(plane_c, plane_x, strict=True):
            for logit, pixel in zip(row_c, row_x, strict=True):
                # 1 - sigma(c) = sigma(-c), which keeps its digits where sigma(c) is nearly 1.
                nats -= pixel * math.log(logistic(logit)) + (1 - pixel) * math.log(logistic(-logit))
    return nats
