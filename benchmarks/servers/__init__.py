"""Web processes to compare the relay's door with: same server, same model, same key, other storage."""
