"""Films in and out: decoding, encoding, and everything beside the picture as it is."""
