"""Imports of files: rows are mapped to events and accepted by the inbox."""
