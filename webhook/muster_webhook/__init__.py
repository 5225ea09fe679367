"""The admission webhook: defaults and validates our objects and gates GPU pods; keeps no state."""
