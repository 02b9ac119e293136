/**
 * Sends customers, orders and products to Platform Relay as they change. Copy this file to `src/subscribers/relay.ts`
 * and set RELAY_URL and RELAY_STORE_KEY; see README.md.
 *
 * Medusa's events contain ids only, so the entity is read when it is sent. If the relay is unavailable, the entity is sent
 * later, in its state at that time. Medusa's workflow engine retries. The Idempotency-Key is derived from the run of the
 * workflow and the body: the same body of another run may be a state that came back.
 */
import { createHash } from "node:crypto"
import type { SubscriberArgs, SubscriberConfig } from "@medusajs/framework"
import type { MedusaContainer } from "@medusajs/framework/types"
import { ContainerRegistrationKeys } from "@medusajs/framework/utils"
import { createStep, createWorkflow, StepResponse, WorkflowResponse } from "@medusajs/framework/workflows-sdk"
import { getOrderDetailWorkflow } from "@medusajs/medusa/core-flows"

type Kind = "customers" | "orders" | "products"
type Row = Record<string, any>

const RETRY_SECONDS = Number(process.env.RELAY_RETRY_SECONDS ?? 60)
const RETRIES = Math.ceil((3 * 24 * 3600) / RETRY_SECONDS) // three days
const STATUS: Record<string, string> = {
  captured: "paid",
  partially_captured: "partially_paid",
  authorized: "authorized",
  refunded: "refunded",
  partially_refunded: "partially_refunded",
  canceled: "voided",
}
const ORDER_FIELDS = [
  "id", "display_id", "status", "email", "customer_id", "customer.has_account", "currency_code", "total",
  "created_at", "updated_at", "items.*", "items.tax_lines.*", "items.adjustments.*", "shipping_methods.*",
  "shipping_methods.tax_lines.*", "shipping_methods.adjustments.*", "payment_collections.*",
]

export const config: SubscriberConfig = {
  event: [
    "customer.created", "customer.updated",
    "product.created", "product.updated",
    "product-variant.created", "product-variant.updated", "product-variant.deleted",
    "order.placed", "order.updated", "order.completed", "order.canceled", "order-edit.confirmed",
    "payment.captured", "payment.refunded",
  ],
}

export default async function relay({ event, container }: SubscriberArgs<Row>): Promise<void> {
  if (!process.env.RELAY_URL) return
  const entity = await entityOf(event.name, event.data, container)
  if (entity) await relayEntity(container).run({ input: entity })
}

/** The entity that an event is about. */
async function entityOf(name: string, data: Row, container: MedusaContainer): Promise<{ kind: Kind; id: string } | null> {
  const [about] = name.split(".")
  if (about === "customer") return { kind: "customers", id: data.id }
  if (about === "product") return { kind: "products", id: data.id }
  if (about === "order") return { kind: "orders", id: data.id }
  if (about === "order-edit") return { kind: "orders", id: data.order_id }
  if (about === "payment") {
    const order = (await one(container, "payment", data.id, ["payment_collection.order.id"]))?.payment_collection?.order
    return order ? { kind: "orders", id: order.id } : null
  }
  const [variant] = await all(container, "product_variant", { id: data.id }, ["product_id"], true)
  return variant?.product_id ? { kind: "products", id: variant.product_id } : null
}

const sendEntity = createStep(
  { name: "relay-send-entity", maxRetries: RETRIES, retryInterval: RETRY_SECONDS },
  async ({ kind, id }: { kind: Kind; id: string }, { container, transactionId }) => {
    const event = await { customers: customer, orders: order, products: product }[kind](id, container)
    if (event) await post(kind, event, transactionId, container)
    return new StepResponse(null)
  },
)

const relayEntity = createWorkflow("relay-entity", (input: { kind: Kind; id: string }) =>
  new WorkflowResponse(sendEntity(input)),
)

/** Throws if a later attempt can succeed; the workflow engine then retries the step. */
async function post(kind: Kind, event: Row, run: string | undefined, container: MedusaContainer): Promise<void> {
  const body = JSON.stringify(event)
  const response = await fetch(`${process.env.RELAY_URL}/v1/events/${kind}`, {
    method: "POST",
    body,
    headers: {
      "content-type": "application/json",
      authorization: `Bearer ${process.env.RELAY_STORE_KEY}`,
      "idempotency-key": `medusa:${kind}:${run}:${createHash("sha256").update(body).digest("hex")}`,
    },
    signal: AbortSignal.timeout(20_000),
  })
  if (response.ok) return
  const detail = `${response.status} ${(await response.text()).slice(0, 300)}`
  if ([400, 409, 413, 415, 422].includes(response.status)) {
    const logger = container.resolve(ContainerRegistrationKeys.LOGGER)
    return logger.error(`Platform Relay rejected ${kind} ${event.id}: ${detail}`)
  }
  throw new Error(`Platform Relay responded with ${detail}`)
}

async function customer(id: string, container: MedusaContainer): Promise<Row | null> {
  const row = await one(container, "customer", id, ["*", "addresses.*"])
  if (!row?.has_account) return null // a guest: the orders contain the e-mail address
  const billing = (row.addresses ?? []).find((address: Row) => address.is_default_billing)
  const named = row.first_name || row.last_name ? row : (billing ?? row)
  return {
    id, email: row.email, firstName: named.first_name, lastName: named.last_name, phone: row.phone,
    createdAt: row.created_at, updatedAt: row.updated_at,
  }
}

async function product(id: string, container: MedusaContainer): Promise<Row | null> {
  const row = await one(container, "product", id, ["*", "variants.*"])
  if (!row) return null
  const variants: Row[] = row.variants ?? []
  const withDeleted = await all(container, "product_variant", { product_id: id }, ["updated_at", "deleted_at"], true)
  const deletions = withDeleted.filter((variant) => variant.deleted_at).map(({ deleted_at }) => ({ updated_at: deleted_at }))
  return {
    id, title: row.title, imageUrl: row.thumbnail, status: row.status === "published" ? "active" : "draft",
    externalUrlHandle: row.handle,
    variants: variants.map((variant) => ({
      externalVariantId: variant.id, title: variant.title, imageUrl: variant.thumbnail, position: variant.variant_rank,
    })),
    updatedAt: latest([row, ...withDeleted, ...deletions]), // a deletion does not change the product's updated_at
  }
}

async function order(id: string, container: MedusaContainer): Promise<Row | null> {
  const { result } = await getOrderDetailWorkflow(container).run({ input: { order_id: id, fields: ORDER_FIELDS } })
  const row = result as Row
  const items: Row[] = row.items ?? []
  const currency = String(row.currency_code).toUpperCase()
  const digits = new Intl.NumberFormat("en", { style: "currency", currency }).resolvedOptions().maximumFractionDigits ?? 2
  const money = (amount: number): string => // half up; toFixed(6) removes what binary fractions add
    (Math.round(Number((amount * 10 ** digits).toFixed(6))) / 10 ** digits).toFixed(digits)
  const price = (item: Row): number => withTax(item.unit_price, item, item.is_tax_inclusive)
  const payments: Row[] = row.payment_collections ?? []
  const refunded = payments.reduce((sum, payment) => sum + Number(payment.refunded_amount ?? 0), 0)
  const status = STATUS[row.payment_status] ?? "pending"
  const codes = new Map<string, number>()
  for (const discounted of [...items, ...(row.shipping_methods ?? [])] as Row[])
    for (const { code, amount, is_tax_inclusive } of (discounted.adjustments ?? []) as Row[])
      if (code) codes.set(code, (codes.get(code) ?? 0) + withTax(amount, discounted, is_tax_inclusive))
  return {
    id,
    customerId: row.customer?.has_account ? row.customer_id : null,
    email: row.email,
    financialStatus: row.status === "canceled" && ["pending", "authorized"].includes(status) ? "voided" : status,
    currency,
    totalPrice: money(Number(row.total)),
    subtotalPrice: money(items.reduce((sum, item) => sum + price(item) * Number(item.quantity), 0)),
    ...(refunded > 0 ? { refundedAmount: money(refunded) } : {}),
    lineItems: items.map((item) => ({
      productId: item.product_id, variantId: item.variant_id, title: item.product_title ?? item.title,
      quantity: Number(item.quantity), price: money(price(item)),
    })),
    discountCodes: [...codes].map(([code, amount]) => ({ code, amount: money(amount) })),
    orderNumber: String(row.display_id),
    createdAt: row.created_at,
    updatedAt: latest([row, ...payments]), // a capture does not change the order's updated_at
  }
}

/** An amount of a line item or a shipping method, with the tax of its lines (rates in percent). */
function withTax(amount: unknown, taxed: Row, included: boolean): number {
  const rates = ((taxed.tax_lines ?? []) as Row[]).reduce((sum, line) => sum + Number(line.rate), 0)
  return Number(amount) * (included ? 1 : 1 + rates / 100)
}

async function one(container: MedusaContainer, entity: string, id: string, fields: string[]): Promise<Row | null> {
  return (await all(container, entity, { id }, fields))[0] ?? null
}

async function all(
  container: MedusaContainer, entity: string, filters: Row, fields: string[], withDeleted = false,
): Promise<Row[]> {
  const query = container.resolve(ContainerRegistrationKeys.QUERY)
  const { data } = await query.graph({ entity, fields, filters, withDeleted } as Parameters<typeof query.graph>[0])
  return data as Row[]
}

function latest(rows: Row[]): string {
  return new Date(Math.max(...rows.map((row) => new Date(row.updated_at).getTime()))).toISOString()
}
