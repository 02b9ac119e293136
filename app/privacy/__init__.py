"""Personal data: export and erasure of a customer."""
