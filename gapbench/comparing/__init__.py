"""Estimates against each other: runs, verifiers, filters, domains, generators and judges."""
