// Medusa with everything in memory but its data: no Redis, no admin page, no mail.
const { defineConfig } = require("@medusajs/framework/utils")

module.exports = defineConfig({
  projectConfig: {
    databaseUrl: process.env.DATABASE_URL,
    databaseDriverOptions: { connection: { ssl: false } },
    http: {
      host: "127.0.0.1",
      storeCors: "http://127.0.0.1",
      adminCors: "http://127.0.0.1",
      authCors: "http://127.0.0.1",
      jwtSecret: process.env.LIVE_SECRET,
      cookieSecret: process.env.LIVE_SECRET,
    },
  },
  admin: { disable: true },
})
