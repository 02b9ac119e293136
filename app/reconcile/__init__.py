"""What the store has, beside what was received and what the Platform has: compared, kept, repaired."""
