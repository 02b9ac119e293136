"""Web processes to compare the relay's endpoint with: same server, same model, same key, other storage."""
