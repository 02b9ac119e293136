"""Infrastructure without a subject of its own: database, HTTP, errors, reasons, telemetry."""
