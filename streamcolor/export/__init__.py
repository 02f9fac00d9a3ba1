"""Models and results for other programs, one file per kind."""
