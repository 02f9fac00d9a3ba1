"""The generators of Efthymiadis et al., "Deep Learning Image Colorization": a U-Net, and one with attention gates."""

from streamcolor.colorizers.unet_gan.colorizer import AttentionUnetGan, UnetGan

__all__ = ["AttentionUnetGan", "UnetGan"]
