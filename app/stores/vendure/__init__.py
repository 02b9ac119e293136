"""Vendure 3, admin GraphQL API."""
