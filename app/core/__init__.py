"""Infrastructure that all subjects use: database, HTTP, egress, encryption, errors, reasons, logs, metrics, traces."""
