"""Synthetic patients: exact labels, exact density and a simulated CT."""
