"""The guard in the kernel: mediation, not a boundary."""
