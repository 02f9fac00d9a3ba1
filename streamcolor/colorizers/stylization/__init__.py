"""The model of Xu et al., "Stylization-Based Architecture for Fast Deep Exemplar Colorization"."""

from streamcolor.colorizers.stylization.colorizer import Stylization

__all__ = ["Stylization"]
