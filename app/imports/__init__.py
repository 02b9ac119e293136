"""What the store already has, taken in: from its files, and from its own lists."""
