"""Gao et al. 2020, "Attentional Colorization Networks with Adaptive Group-Instance Normalization"."""

from streamcolor.colorizers.agin.colorizer import Agin

__all__ = ["Agin"]
