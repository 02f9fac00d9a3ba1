"""Two convolutional networks of Efthymiadis et al., "Deep Learning Image Colorization": sections 3.1 and 3.2."""

from streamcolor.colorizers.cnn.colorizer import CnnClassifier, ResnetCnn

__all__ = ["CnnClassifier", "ResnetCnn"]
