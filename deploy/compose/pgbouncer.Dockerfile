# PgBouncer of Debian, without privileges.
FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install --yes --no-install-recommends pgbouncer postgresql-client \
 && rm -rf /var/lib/apt/lists/*
COPY pgbouncer.ini /etc/pgbouncer/relay.ini
USER postgres
CMD ["sh", "-c", "umask 077 && printf '\"relay\" \"%s\"\\n' \"$PASSWORD\" >/tmp/users.txt && exec pgbouncer /etc/pgbouncer/relay.ini"]
