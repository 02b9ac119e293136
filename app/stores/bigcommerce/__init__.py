"""BigCommerce, V2 coupons."""
