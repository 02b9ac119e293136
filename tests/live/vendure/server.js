// Vendure on sqlite, with the plugin of integrations/vendure (compiled to relay-plugin.js) when RELAY_URL is set.
const {
  bootstrap, DefaultJobQueuePlugin, DefaultLogger, dummyPaymentHandler, JobQueueService, LogLevel,
} = require("@vendure/core")

const plugins = [DefaultJobQueuePlugin.init({ pollInterval: 100 })]
if (process.env.RELAY_URL) plugins.push(require("./relay-plugin.js").RelayPlugin)

bootstrap({
  apiOptions: { port: Number(process.env.PORT), hostname: "127.0.0.1", adminApiPath: "admin-api", shopApiPath: "shop-api" },
  authOptions: {
    tokenMethod: ["bearer", "api-key"],
    superadminCredentials: { identifier: "superadmin", password: process.env.LIVE_SECRET },
    cookieOptions: { secret: process.env.LIVE_SECRET },
    requireVerification: false,
  },
  dbConnectionOptions: { type: "better-sqlite3", synchronize: true, logging: false, database: process.env.DATABASE_FILE },
  paymentOptions: { paymentMethodHandlers: [dummyPaymentHandler] },
  logger: new DefaultLogger({ level: LogLevel.Info }),
  plugins,
})
  .then((application) => application.get(JobQueueService).start())
  .then(() => console.log("READY"))
  .catch((error) => { console.error(error); process.exit(1) })
