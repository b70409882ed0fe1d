"""Every model by the name that configuration files call it."""

from __future__ import annotations

from drawnet.models.draw import Draw, DrawConfig
from drawnet.models.multiscale import MultiScale, MultiScaleConfig
from drawnet.models.pixelcnn import PixelCNN, PixelCNNConfig
from drawnet.models.pixelrnn import PixelRNN, PixelRNNConfig
from drawnet.models.vae import VAE, VAEConfig

LatentModel = Draw | VAE
PixelModel = PixelCNN | PixelRNN | MultiScale
Model = LatentModel | PixelModel
ModelConfig = DrawConfig | VAEConfig | PixelCNNConfig | PixelRNNConfig | MultiScaleConfig

MODELS: dict[str, tuple[type[ModelConfig], type[Model]]] = {
    "draw": (DrawConfig, Draw),
    "vae": (VAEConfig, VAE),
    "pixelcnn": (PixelCNNConfig, PixelCNN),
    "pixelrnn": (PixelRNNConfig, PixelRNN),
    "multiscale": (MultiScaleConfig, MultiScale),
}


def type_name(config: ModelConfig) -> str:
    """The name of the model that a configuration is of: "draw", "vae", ..."""
    return next(name for name, (config_class, _) in MODELS.items() if type(config) is config_class)


def build_model(config: ModelConfig) -> Model:
    """A model with starting weights from torch's own generator."""
    _, model_class = MODELS[type_name(config)]
    return model_class(config)  # type: ignore[arg-type]
