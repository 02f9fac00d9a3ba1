"""The stages of a run and the one place where they are joined."""
