"""The process above one container: it outlives the agent and writes down how the container ended. Stdlib only."""
