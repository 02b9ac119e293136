"""Magento Open Source and Adobe Commerce, REST."""
