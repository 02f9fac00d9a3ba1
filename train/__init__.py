"""Training of every model; installed as ``streamcolor.train``."""
