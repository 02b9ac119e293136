"""What an operator has to look at: when alerts are raised and ended, and how they reach a chat."""
