"""Property tests draw the same examples every time; HYPOTHESIS_PROFILE=default makes them search anew."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))
