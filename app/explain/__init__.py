"""Explain: why an order, customer, coupon or message is as it is. Records are collected, diagnosed, and shown as an explanation."""
