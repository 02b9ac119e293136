"""The checks of `relay check`."""
