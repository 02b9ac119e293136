"""Forwarding: the jobs that send a store's events to the Platform, and the Platform's loyalty data to the store.

customer.py, product.py   PUT at the Platform; the newest version wins
order.py                  POST or PATCH at the Platform
fetch.py                  fetches an entity from the store and accepts it as a message
loyalty_sync.py           writes a webhook of the Platform to the store's customer

A handler gets what it needs in `__init__`, and returns an outcome.
"""
