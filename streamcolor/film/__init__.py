"""What a film is made of: shots and references."""
