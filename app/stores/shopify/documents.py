"""The GraphQL documents for Shopify's Admin API, version 2026-07.

`tests/contract/test_shopify_schema.py` validates every document, with its variables, against Shopify's official schema. The
page sizes keep the cost of a query below 1000 points, Shopify's limit for one query.
"""

from typing import Final

VERSION: Final = "2026-07"
ITEMS_READ: Final = 100
"""How many products, and how many variants, of a coupon are read. A coupon for more is rejected."""

DISCOUNT: Final = """
fragment Common on DiscountCodeNode {
  id
  codeDiscount {
    __typename
    ... on DiscountCodeBasic {
      status startsAt endsAt usageLimit appliesOncePerCustomer asyncUsageCount tags
      codes(first: 2) { nodes { code } }
      codesCount { count }
      combinesWith { orderDiscounts productDiscounts shippingDiscounts }
      context { ...Buyers }
      minimumRequirement { ...Minimum }
      customerGets {
        value {
          __typename
          ... on DiscountAmount { amount { amount currencyCode } appliesOnEachItem }
          ... on DiscountPercentage { percentage }
        }
        items {
          __typename
          ... on DiscountProducts {
            products(first: 100) { nodes { id } pageInfo { hasNextPage } }
            productVariants(first: 100) { nodes { id } pageInfo { hasNextPage } }
          }
        }
      }
    }
    ... on DiscountCodeFreeShipping {
      status startsAt endsAt usageLimit appliesOncePerCustomer asyncUsageCount tags
      codes(first: 2) { nodes { code } }
      codesCount { count }
      combinesWith { orderDiscounts productDiscounts shippingDiscounts }
      context { ...Buyers }
      minimumRequirement { ...Minimum }
      destinationSelection { __typename }
      maximumShippingPrice { amount }
    }
  }
}
fragment Buyers on DiscountContext {
  __typename
  ... on DiscountCustomers { customers { id } }
}
fragment Minimum on DiscountMinimumRequirement {
  __typename
  ... on DiscountMinimumSubtotal { greaterThanOrEqualToSubtotal { amount currencyCode } }
}
"""

CREATE_BASIC: Final = (
    """
mutation CreateCoupon($coupon: DiscountCodeBasicInput!) {
  result: discountCodeBasicCreate(basicCodeDiscount: $coupon) {
    codeDiscountNode { ...Common }
    userErrors { field message code }
  }
}"""
    + DISCOUNT
)
CREATE_FREE_SHIPPING: Final = (
    """
mutation CreateFreeShipping($coupon: DiscountCodeFreeShippingInput!) {
  result: discountCodeFreeShippingCreate(freeShippingCodeDiscount: $coupon) {
    codeDiscountNode { ...Common }
    userErrors { field message code }
  }
}"""
    + DISCOUNT
)
FIND: Final = (
    "query FindCoupon($code: String!) { result: codeDiscountNodeByCode(code: $code) { ...Common } }" + DISCOUNT
)
DELETE: Final = """
mutation DeleteCoupon($id: ID!) {
  result: discountCodeDelete(id: $id) { deletedCodeDiscountId userErrors { field message code } }
}"""
CHECK: Final = """
query Check {
  result: shop { name currencyCode }
  currentAppInstallation { accessScopes { handle } }
}"""
CURRENCY: Final = "query Currency { result: shop { currencyCode } }"
CUSTOMER_ID: Final = """
query CustomerId($email: String!) {
  result: customerByIdentifier(identifier: {emailAddress: $email}) { legacyResourceId }
}"""
LOYALTY_FIELDS: Final = """
query LoyaltyFields($id: ID!, $namespace: String!) {
  result: customer(id: $id) { id metafields(first: 10, namespace: $namespace) { nodes { key value } } }
}"""
SET_LOYALTY_FIELDS: Final = """
mutation SetLoyaltyFields($metafields: [MetafieldsSetInput!]!) {
  result: metafieldsSet(metafields: $metafields) { metafields { key value } userErrors { field message code } }
}"""

_ORDER: Final = """
fragment Whole on Order {
  id email test currencyCode displayFinancialStatus createdAt updatedAt discountCodes
  customer { id }
  taxesIncluded
  totalPriceSet { shopMoney { amount } }
  totalRefundedSet { shopMoney { amount } }
  currentTotalPriceSet { shopMoney { amount } }
  lineItems(first: 30) {
    nodes {
      title quantity currentQuantity
      product { id }
      variant { id }
      originalUnitPriceSet { shopMoney { amount } }
      taxLines { rate }
      discountAllocations { ...Allocation }
    }
    pageInfo { hasNextPage }
  }
  shippingLines(first: 3) { nodes { taxLines { rate } discountAllocations { ...Allocation } } pageInfo { hasNextPage } }
}
fragment Allocation on DiscountAllocation {
  allocatedAmountSet { shopMoney { amount } }
  discountApplication { ... on DiscountCodeApplication { code } }
}"""
_CUSTOMER: Final = """
fragment Whole on Customer {
  id firstName lastName tags createdAt updatedAt
  defaultEmailAddress { emailAddress }
  defaultPhoneNumber { phoneNumber }
  defaultAddress { firstName lastName }
}"""
_PRODUCT: Final = """
fragment Whole on Product {
  id title handle status updatedAt
  featuredMedia { preview { image { url } } }
  variants(first: 100) { nodes { id title position } pageInfo { hasNextPage } }
}"""

LIST_ORDERS: Final = (
    """
query ListOrders($first: Int!, $cursor: String, $changed: String) {
  result: orders(first: $first, after: $cursor, sortKey: UPDATED_AT, query: $changed) {
    nodes { ...Whole }
    pageInfo { hasNextPage endCursor }
  }
}"""
    + _ORDER
)
LIST_CUSTOMERS: Final = (
    """
query ListCustomers($first: Int!, $cursor: String, $changed: String) {
  result: customers(first: $first, after: $cursor, sortKey: UPDATED_AT, query: $changed) {
    nodes { ...Whole }
    pageInfo { hasNextPage endCursor }
  }
}"""
    + _CUSTOMER
)
LIST_PRODUCTS: Final = (
    """
query ListProducts($first: Int!, $cursor: String, $changed: String) {
  result: products(first: $first, after: $cursor, sortKey: UPDATED_AT, query: $changed) {
    nodes { ...Whole }
    pageInfo { hasNextPage endCursor }
  }
}"""
    + _PRODUCT
)
COUNT_ORDERS: Final = """
query CountOrders($changed: String) {
  result: ordersCount(query: $changed, limit: null) { count precision }
  currentAppInstallation { accessScopes { handle } }
}"""
COUNT_CUSTOMERS: Final = """
query CountCustomers($changed: String) { result: customersCount(query: $changed, limit: null) { count precision } }"""
COUNT_PRODUCTS: Final = """
query CountProducts($changed: String) { result: productsCount(query: $changed, limit: null) { count precision } }"""
GET_ORDER: Final = "query GetOrder($id: ID!) { result: order(id: $id) { ...Whole } }" + _ORDER
GET_CUSTOMER: Final = "query GetCustomer($id: ID!) { result: customer(id: $id) { ...Whole } }" + _CUSTOMER
GET_PRODUCT: Final = "query GetProduct($id: ID!) { result: product(id: $id) { ...Whole } }" + _PRODUCT

LIST_WEBHOOKS: Final = """
query ListWebhooks($uri: String!) {
  result: webhookSubscriptions(first: 50, uri: $uri) { nodes { id topic uri } }
}"""
CREATE_WEBHOOK: Final = """
mutation CreateWebhook($topic: WebhookSubscriptionTopic!, $webhook: WebhookSubscriptionInput!) {
  result: webhookSubscriptionCreate(topic: $topic, webhookSubscription: $webhook) {
    webhookSubscription { id topic uri }
    userErrors { field message }
  }
}"""
DELETE_WEBHOOK: Final = """
mutation DeleteWebhook($id: ID!) {
  result: webhookSubscriptionDelete(id: $id) { deletedWebhookSubscriptionId userErrors { field message } }
}"""
