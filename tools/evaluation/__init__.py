"""Recognition measured end to end: queries, calibration, acceptance report, two bundles compared."""
