"""An explicit-state model of the permit protocol: every interleaving of a few hosts, on the product's own rules."""
