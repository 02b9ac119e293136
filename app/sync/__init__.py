"""Reading from the store: polling, backfill, and the store's own webhooks."""
