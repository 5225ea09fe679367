"""The vocabulary of Muster: kinds, labels, phases, reasons, quantities, tickets; no I/O, nothing of ours imported."""
