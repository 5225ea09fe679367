"""What the leader does for the queue service: jobs become AIJobs, and what becomes of these is written down."""
