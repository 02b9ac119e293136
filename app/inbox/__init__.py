"""Accepts messages, and commits them in groups before they are acknowledged.

events.py            the typed events of customers, orders and products (pure)
messages.py          the message of an event, and the job that it requires (pure)
inbox.py             stores messages, many callers per commit
stored_customers.py  customers as they were received, for orders whose customer the Platform does not know
retention.py         deletes bodies after the retention time
reencrypt.py         brings stored bodies under the first encryption key
"""
