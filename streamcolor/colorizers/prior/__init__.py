"""``chroma-prior``: plausible, restrained colors for what no reference shows."""

from streamcolor.colorizers.prior.colorizer import ChromaPrior as ChromaPrior
from streamcolor.colorizers.prior.colorizer import shipped_network as shipped_network
