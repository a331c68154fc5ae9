"""The registry of sources: one line per source; order has no meaning."""
