"""Every model by the name that configuration files call it: models of images, and classifiers."""

from __future__ import annotations

from drawnet.models.conv_classifier import ConvClassifier, ConvClassifierConfig
from drawnet.models.draw import Draw, DrawConfig
from drawnet.models.glimpse_classifier import GlimpseClassifier, GlimpseClassifierConfig
from drawnet.models.multiscale import MultiScale, MultiScaleConfig
from drawnet.models.pixelcnn import PixelCNN, PixelCNNConfig
from drawnet.models.pixelrnn import PixelRNN, PixelRNNConfig
from drawnet.models.ram import RAM, RAMConfig
from drawnet.models.vae import VAE, VAEConfig

LatentModel = Draw | VAE
PixelModel = PixelCNN | PixelRNN | MultiScale
Model = LatentModel | PixelModel
ModelConfig = DrawConfig | VAEConfig | PixelCNNConfig | PixelRNNConfig | MultiScaleConfig
Classifier = GlimpseClassifier | RAM | ConvClassifier
ClassifierConfig = GlimpseClassifierConfig | RAMConfig | ConvClassifierConfig

MODELS: dict[str, tuple[type[ModelConfig], type[Model]]] = {
    "draw": (DrawConfig, Draw),
    "vae": (VAEConfig, VAE),
    "pixelcnn": (PixelCNNConfig, PixelCNN),
    "pixelrnn": (PixelRNNConfig, PixelRNN),
    "multiscale": (MultiScaleConfig, MultiScale),
}
CLASSIFIERS: dict[str, tuple[type[ClassifierConfig], type[Classifier]]] = {
    "glimpse-classifier": (GlimpseClassifierConfig, GlimpseClassifier),
    "ram": (RAMConfig, RAM),
    "conv-classifier": (ConvClassifierConfig, ConvClassifier),
}
CONFIGS: dict[str, type[ModelConfig] | type[ClassifierConfig]] = {
    name: config_class for name, (config_class, _) in (*MODELS.items(), *CLASSIFIERS.items())
}


def type_name(config: ModelConfig | ClassifierConfig) -> str:
    """The name of the model that a configuration is of: "draw", "vae", ..."""
    return next(name for name, config_class in CONFIGS.items() if type(config) is config_class)


def build_model(config: ModelConfig) -> Model:
    """A model with starting weights from torch's own generator."""
    _, model_class = MODELS[type_name(config)]
    return model_class(config)  # type: ignore[arg-type]


def build_classifier(config: ClassifierConfig) -> Classifier:
    """A classifier with starting weights from torch's own generator."""
    _, classifier_class = CLASSIFIERS[type_name(config)]
    return classifier_class(config)  # type: ignore[arg-type]
