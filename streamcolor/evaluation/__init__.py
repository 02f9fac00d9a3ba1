"""How well it colors: metrics, protocols, reports."""
