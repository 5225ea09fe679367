"""Keeps jobs, attempts, history and audit in Postgres, the truth of the queue; never decides which job runs where."""
