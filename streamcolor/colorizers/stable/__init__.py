"""The family of Bansal, "Stable Image Colorization via Reference Image Cross-Attention"."""

from streamcolor.colorizers.stable.colorizer import Autoencoder, StableColorizer, UnetBasic

__all__ = ["Autoencoder", "StableColorizer", "UnetBasic"]
