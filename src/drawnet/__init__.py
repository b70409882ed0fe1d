"""DRAW (Gregor et al. 2015) and its kin: image models that draw stroke by stroke."""

__version__ = "0.1.0"
