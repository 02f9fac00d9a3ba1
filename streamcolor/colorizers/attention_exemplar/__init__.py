"""The colorizer of Yin, Lu, Zhao & Peng, "Yes, Attention Is All You Need, for Exemplar based Colorization"."""

from streamcolor.colorizers.attention_exemplar.colorizer import AttentionExemplar

__all__ = ["AttentionExemplar"]
