"""Estimators of log p(x) for decoders with few latents, and the sampler they share."""
