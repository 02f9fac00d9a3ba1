"""Color science: standards, conversion between lightness, ab and coded chroma, enlargement."""
