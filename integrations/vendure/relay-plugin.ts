/**
 * Sends customers, orders and products to Platform Relay as they change. Copy this file into the project, add RelayPlugin
 * to `plugins`, and set RELAY_URL and RELAY_STORE_KEY; see README.md.
 *
 * An event becomes a job of Vendure's own queue, which survives a restart and retries; the entity is read when it is
 * sent. The Idempotency-Key is derived from the job and the body: the same body of another job may be a state that came back.
 */
import { createHash } from 'node:crypto';
import { OnApplicationBootstrap } from '@nestjs/common';
import {
  AccountRegistrationEvent, ConfigService, CustomerEvent, CustomerService, EventBus, ID, Job, JobQueue, JobQueueService,
  Logger, OrderService, OrderStateTransitionEvent, PaymentStateTransitionEvent, PluginCommonModule, ProductEvent,
  ProductService, ProductVariant, ProductVariantEvent, ProductVariantService, RefundStateTransitionEvent, RequestContext,
  RequestContextService, TransactionalConnection, VendureEvent, VendurePlugin,
} from '@vendure/core';

type Kind = 'customers' | 'orders' | 'products';
type Row = Record<string, any>;
type Task = { kind: Kind; id: string; channel: string };

const WAIT_SECONDS = Number(process.env.RELAY_RETRY_SECONDS ?? 15); // a longer pause would delay a shutdown of Vendure
const RETRIES = Math.ceil((3 * 24 * 3600) / WAIT_SECONDS); // three days

@VendurePlugin({ imports: [PluginCommonModule], compatibility: '^3.0.0' })
export class RelayPlugin implements OnApplicationBootstrap {
  private queue!: JobQueue<Task>;

  constructor(
    private events: EventBus,
    private jobs: JobQueueService,
    private contexts: RequestContextService,
    private settings: ConfigService,
    private customers: CustomerService,
    private orders: OrderService,
    private products: ProductService,
    private variants: ProductVariantService,
    private connection: TransactionalConnection,
  ) {}

  async onApplicationBootstrap(): Promise<void> {
    if (!process.env.RELAY_URL) return;
    this.queue = await this.jobs.createQueue({ name: 'platform-relay', process: job => this.send(job) });
    this.on(CustomerEvent, 'customers', event => [event.entity.id]);
    this.on(AccountRegistrationEvent, 'customers', async event => {
      const customer = await this.customers.findOneByUserId(event.ctx, event.user.id, false);
      return customer ? [customer.id] : [];
    });
    this.on(ProductEvent, 'products', event => [event.entity.id]);
    this.on(ProductVariantEvent, 'products', event => [...new Set(event.entity.map(each => each.productId))]);
    this.on(OrderStateTransitionEvent, 'orders', event => [event.order.id]);
    this.on(PaymentStateTransitionEvent, 'orders', event => [event.order.id]);
    this.on(RefundStateTransitionEvent, 'orders', event => [event.order.id]);
  }

  private on<E extends VendureEvent & { ctx: RequestContext }>(
    Type: new (...args: any[]) => E, kind: Kind, ids: (event: E) => ID[] | Promise<ID[]>,
  ): void {
    this.events.ofType(Type).subscribe(async event => {
      try {
        for (const id of await ids(event))
          await this.queue.add({ kind, id: String(id), channel: event.ctx.channel.token }, { retries: RETRIES });
      } catch (error) {
        Logger.error(`an event of ${kind} was not queued: ${error}`, 'PlatformRelay');
      }
    });
  }

  /** One attempt. If a later one can succeed, it waits and throws, and the queue retries the job. */
  private async send(job: Job<Task>): Promise<void> {
    const { kind, id, channel } = job.data;
    const ctx = await this.contexts.create({ apiType: 'admin', channelOrToken: channel });
    const event = await { customers: this.customer, orders: this.order, products: this.product }[kind].call(this, ctx, id);
    if (!event) return;
    try {
      await post(kind, event, job.id);
    } catch (error) {
      await new Promise(resolve => setTimeout(resolve, Math.min(2 ** job.attempts, WAIT_SECONDS) * 1000));
      throw error;
    }
  }

  private async customer(ctx: RequestContext, id: ID): Promise<Row | null> {
    const row = await this.customers.findOne(ctx, id, ['user', 'addresses']);
    if (!row?.user) return null; // a guest: the orders contain the e-mail address
    const billing = row.addresses.find(address => address.defaultBillingAddress)?.fullName;
    return {
      id: String(row.id), email: row.emailAddress, firstName: row.firstName, lastName: row.lastName,
      ...(billing && !row.firstName && !row.lastName ? { name: billing } : {}),
      phone: row.phoneNumber, createdAt: row.createdAt, updatedAt: row.updatedAt,
    };
  }

  private async product(ctx: RequestContext, id: ID): Promise<Row | null> {
    const row = await this.products.findOne(ctx, id, ['featuredAsset']);
    if (!row) return null;
    const { items } = await this.variants.getVariantsByProductId(ctx, row.id, {}, ['featuredAsset']);
    const withDeleted = await this.connection.getRepository(ctx, ProductVariant).find({ where: { productId: row.id } });
    return {
      id: String(row.id), title: row.name, imageUrl: image(row), status: row.enabled ? 'active' : 'draft',
      externalUrlHandle: row.slug,
      variants: items.map((each, position) => ({
        externalVariantId: String(each.id), title: each.name, imageUrl: image(each),
        status: each.enabled ? 'active' : 'draft', position,
      })),
      updatedAt: latest([row, ...withDeleted]), // a deleted variant changes its own time only
    };
  }

  private async order(ctx: RequestContext, id: ID): Promise<Row | null> {
    const row = await this.orders.findOne(ctx, id, [
      'customer', 'customer.user', 'lines', 'lines.productVariant', 'lines.productVariant.product', 'promotions',
      'shippingLines', 'surcharges', 'payments', 'payments.refunds',
    ]);
    if (!row?.orderPlacedAt) return null; // a cart
    const digits = this.settings.entityOptions.moneyStrategy?.precision ?? 2;
    const places = new Intl.NumberFormat('en', { style: 'currency', currency: row.currencyCode }).resolvedOptions()
      .maximumFractionDigits ?? 2;
    const money = (amount: number): string => // half up
      (Math.round(Number((amount / 10 ** (digits - places)).toFixed(6))) / 10 ** places).toFixed(places);
    const refunds = row.payments.flatMap(payment => payment.refunds);
    const refunded = refunds.reduce((sum, each) => (each.state === 'Settled' ? sum + each.total : sum), 0);
    const sources = new Map(row.promotions.map(each => [`PROMOTION:${each.id}`, each.couponCode]));
    const off = (code: string): number =>
      row.discounts.reduce((sum, each) => (sources.get(each.adjustmentSource) === code ? sum - each.amountWithTax : sum), 0);
    return {
      id: String(row.id),
      customerId: row.customer?.user ? String(row.customer.id) : null,
      email: row.customer?.emailAddress,
      financialStatus: financialStatus(row, refunds),
      currency: row.currencyCode,
      totalPrice: money(row.totalWithTax),
      subtotalPrice: money(row.lines.reduce((sum, line) => sum + line.linePriceWithTax, 0)),
      ...(refunded > 0 ? { refundedAmount: money(refunded) } : {}),
      lineItems: row.lines.map(line => ({
        productId: String(line.productVariant.productId), variantId: String(line.productVariant.id),
        title: line.productVariant.product?.name ?? line.productVariant.name, quantity: line.quantity,
        price: money(line.unitPriceWithTax),
      })),
      discountCodes: row.couponCodes.map(code => ({ code, amount: money(off(code)) })),
      orderNumber: row.code,
      createdAt: row.orderPlacedAt,
      updatedAt: latest([row, ...row.payments, ...refunds]), // a settled payment does not change the order's updatedAt
    };
  }
}

/** The table is in docs/stores/vendure.md. */
function financialStatus(order: Row, refunds: Row[]): string {
  const settled = (rows: Row[], name: string): number =>
    rows.reduce((sum, row) => (row.state === 'Settled' ? sum + row[name] : sum), 0);
  const paid = settled(order.payments, 'amount');
  const refunded = settled(refunds, 'total');
  if (order.state === 'Cancelled' && !refunded) return 'voided';
  if (order.state === 'Cancelled' || (refunded && refunded >= paid)) return 'refunded';
  if (refunded) return 'partially_refunded';
  if (paid >= order.totalWithTax) return 'paid';
  if (paid) return 'partially_paid';
  return order.payments.some((payment: Row) => payment.state === 'Authorized') ? 'authorized' : 'pending';
}

async function post(kind: Kind, event: Row, job: ID | null): Promise<void> {
  const body = JSON.stringify(event);
  const response = await fetch(`${process.env.RELAY_URL}/v1/events/${kind}`, {
    method: 'POST',
    body,
    headers: {
      'content-type': 'application/json',
      authorization: `Bearer ${process.env.RELAY_STORE_KEY}`,
      'idempotency-key': `vendure:${kind}:${job}:${createHash('sha256').update(body).digest('hex')}`,
    },
    signal: AbortSignal.timeout(20_000),
  });
  if (response.ok) return;
  const detail = `${response.status} ${(await response.text()).slice(0, 300)}`;
  if (![400, 409, 413, 415, 422].includes(response.status)) throw new Error(`Platform Relay responded with ${detail}`);
  Logger.error(`Platform Relay rejected ${kind} ${event.id}: ${detail}`, 'PlatformRelay');
}

/** Assets are stored with an address relative to the asset server, unless it has a prefix of its own. */
function image(row: Row): string | null {
  const address = row.featuredAsset?.preview;
  return address?.startsWith('http') ? address : null;
}

function latest(rows: Row[]): string {
  return new Date(Math.max(...rows.map(row => new Date(row.updatedAt).getTime()))).toISOString();
}
