"""Shopify, Admin GraphQL API."""
