"""Models behind one contract, and the cache that remembers for them."""
