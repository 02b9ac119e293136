"""What `relay check` looks at."""
