"""The database migrations, run by `app.migrate`."""
