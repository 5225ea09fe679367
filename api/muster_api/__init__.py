"""The vocabulary of Muster: kinds, labels, phases, reasons, quantities and tickets; no I/O, and nothing of ours imported."""
