"""What a person has to look at: the kinds, when they are raised and ended, and how they reach a chat."""
