"""The default model: colors carried from references by attention over the cache."""

from streamcolor.colorizers.propagator.colorizer import Propagator as Propagator
from streamcolor.colorizers.propagator.colorizer import PropagatorBig as PropagatorBig
