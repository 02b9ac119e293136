"""Saleor, GraphQL."""
