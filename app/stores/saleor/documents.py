"""The GraphQL documents for Saleor 3.23. A test validates each of them, with its variables, against Saleor's schema."""

from typing import Final

_VOUCHER: Final = """
fragment VoucherParts on Voucher {
  id name type discountValueType usageLimit used singleUse applyOncePerOrder applyOncePerCustomer onlyForStaff
  minCheckoutItemsQuantity startDate endDate privateMetafield(key: "platform_relay_reference")
  codes(first: 50) { edges { node { id code used isActive } } }
  products(first: 100) { edges { node { id } } }
  variants(first: 100) { edges { node { id } } }
  categories(first: 1) { edges { node { id } } }
  collections(first: 1) { edges { node { id } } }
  countries { code }
  channelListings { channel { id slug } discountValue currency minSpent { amount } }
}
"""

CHANNELS: Final = """
query Channels { channels { id slug currencyCode isActive } }
"""

PERMISSIONS: Final = """
query Permissions { app { id name isActive permissions { code } } }
"""

FIND_VOUCHERS: Final = (
    """
query FindVouchers($code: String!, $after: String) {
  vouchers(first: 20, after: $after, filter: {search: $code}) {
    edges { node { ...VoucherParts } }
    pageInfo { hasNextPage endCursor }
  }
}
"""
    + _VOUCHER
)

CREATE_VOUCHER: Final = (
    """
mutation CreateVoucher($input: VoucherInput!) {
  voucherCreate(input: $input) { voucher { ...VoucherParts } errors { field message code } }
}
"""
    + _VOUCHER
)

LIST_VOUCHER: Final = (
    """
mutation ListVoucher($id: ID!, $input: VoucherChannelListingInput!, $metadata: [MetadataInput!]!) {
  updatePrivateMetadata(id: $id, input: $metadata) { errors { message code } }
  voucherChannelListingUpdate(id: $id, input: $input) {
    voucher { ...VoucherParts } errors { field message code }
  }
}
"""
    + _VOUCHER
)

DELETE_VOUCHER: Final = """
mutation DeleteVoucher($id: ID!) { voucherDelete(id: $id) { errors { field message code } } }
"""

DELETE_CODES: Final = """
mutation DeleteCodes($ids: [ID!]!) { voucherCodeBulkDelete(ids: $ids) { count errors { message code } } }
"""

_CUSTOMER: Final = """
fragment CustomerParts on User {
  id email firstName lastName dateJoined updatedAt defaultBillingAddress { firstName lastName }
}
"""
_ORDER: Final = """
fragment OrderParts on Order {
  id userEmail user { id } created updatedAt status paymentStatus chargeStatus authorizeStatus voucherCode
  total { gross { amount currency } } totalCharged { amount } totalRefunded { amount }
  subtotal { ...Taxed } shippingPrice { ...Taxed } undiscountedTotal { ...Taxed }
  discounts { type total { amount } }
  lines { productName variantName productVariantId quantity discounts { type total { amount } }
    undiscountedUnitPrice { ...Taxed } undiscountedTotalPrice { ...Taxed }
    variant { id product { id } } }
}
fragment Taxed on TaxedMoney { gross { amount } net { amount } }
"""
_PRODUCT: Final = """
fragment ProductParts on Product {
  id name slug updatedAt thumbnail(size: 1024) { url }
  channelListings { isPublished channel { slug } }
  productVariants(first: 100) { edges { node { id name } } pageInfo { hasNextPage } }
}
"""
_PAGE: Final = "pageInfo { hasNextPage endCursor }"

CUSTOMERS: Final = (
    f"""
query Customers($first: Int!, $after: String, $updated: DateTimeRangeInput) {{
  customers(first: $first, after: $after, filter: {{updatedAt: $updated}},
            sortBy: {{field: LAST_MODIFIED_AT, direction: ASC}}) {{ edges {{ node {{ ...CustomerParts }} }} {_PAGE} }}
}}
"""
    + _CUSTOMER
)
ORDERS: Final = (
    f"""
query Orders($first: Int!, $after: String, $updated: DateTimeRangeInput) {{
  orders(first: $first, after: $after, filter: {{updatedAt: $updated}},
         sortBy: {{field: LAST_MODIFIED_AT, direction: ASC}}) {{ edges {{ node {{ ...OrderParts }} }} {_PAGE} }}
}}
"""
    + _ORDER
)
PRODUCTS: Final = (
    f"""
query Products($first: Int!, $after: String, $updated: DateTimeRangeInput) {{
  products(first: $first, after: $after, filter: {{updatedAt: $updated}},
           sortBy: {{field: LAST_MODIFIED_AT, direction: ASC}}) {{ edges {{ node {{ ...ProductParts }} }} {_PAGE} }}
}}
"""
    + _PRODUCT
)
COUNT_CUSTOMERS: Final = """
query CustomerCount($updated: DateTimeRangeInput) { customers(first: 1, filter: {updatedAt: $updated}) { totalCount } }
"""
COUNT_ORDERS: Final = """
query OrderCount($updated: DateTimeRangeInput) { orders(first: 1, filter: {updatedAt: $updated}) { totalCount } }
"""
COUNT_PRODUCTS: Final = """
query ProductCount($updated: DateTimeRangeInput) { products(first: 1, filter: {updatedAt: $updated}) { totalCount } }
"""
CUSTOMER: Final = "query Customer($id: ID!) { user(id: $id) { ...CustomerParts } }" + _CUSTOMER
ORDER: Final = "query Order($id: ID!) { order(id: $id) { ...OrderParts } }" + _ORDER
PRODUCT: Final = "query Product($id: ID!) { product(id: $id) { ...ProductParts } }" + _PRODUCT

LOYALTY_FIELDS: Final = """
query LoyaltyFields($id: ID!, $keys: [String!]!) { user(id: $id) { id privateMetafields(keys: $keys) } }
"""
SET_LOYALTY_FIELDS: Final = """
mutation SetLoyaltyFields($id: ID!, $keys: [String!]!, $input: [MetadataInput!]!) {
  updatePrivateMetadata(id: $id, input: $input) {
    item { privateMetafields(keys: $keys) } errors { field message code }
  }
}
"""

CUSTOMER_EVENTS: Final = (
    """
subscription {
  event {
    __typename
    ... on CustomerCreated { user { ...CustomerParts } }
    ... on CustomerUpdated { user { ...CustomerParts } }
  }
}
"""
    + _CUSTOMER
)
ORDER_EVENTS: Final = (
    """
subscription {
  event {
    __typename
    ... on OrderCreated { order { ...OrderParts } }
    ... on OrderConfirmed { order { ...OrderParts } }
    ... on OrderUpdated { order { ...OrderParts } }
    ... on OrderPaid { order { ...OrderParts } }
    ... on OrderFullyPaid { order { ...OrderParts } }
    ... on OrderRefunded { order { ...OrderParts } }
    ... on OrderFullyRefunded { order { ...OrderParts } }
    ... on OrderCancelled { order { ...OrderParts } }
    ... on OrderExpired { order { ...OrderParts } }
  }
}
"""
    + _ORDER
)
PRODUCT_EVENTS: Final = (
    """
subscription {
  event {
    __typename
    ... on ProductCreated { product { ...ProductParts } }
    ... on ProductUpdated { product { ...ProductParts } }
    ... on ProductVariantCreated { productVariant { product { ...ProductParts } } }
    ... on ProductVariantUpdated { productVariant { product { ...ProductParts } } }
    ... on ProductVariantDeleted { productVariant { product { ...ProductParts } } }
  }
}
"""
    + _PRODUCT
)

WEBHOOKS: Final = """
query Webhooks { app { id webhooks { id name targetUrl isActive asyncEvents { eventType } } } }
"""
CREATE_WEBHOOK: Final = """
mutation CreateWebhook($input: WebhookCreateInput!) {
  webhookCreate(input: $input) { webhook { id name targetUrl isActive } errors { field message code } }
}
"""
ENABLE_WEBHOOK: Final = """
mutation EnableWebhook($id: ID!) {
  webhookUpdate(id: $id, input: {isActive: true}) { webhook { id isActive } errors { field message code } }
}
"""
DELETE_WEBHOOK: Final = """
mutation DeleteWebhook($id: ID!) { webhookDelete(id: $id) { errors { field message code } } }
"""
