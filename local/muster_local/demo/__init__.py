"""The demo: short stories on a real control plane, told with the cluster's own output."""
