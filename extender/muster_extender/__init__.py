"""The scheduler extender: enforces at filter and bind what the controller decided; plans nothing."""
