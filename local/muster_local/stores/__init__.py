"""Postgres and Redis for `muster local`: the system's programs, else those of the wheels, durable and for us alone."""
