"""Alerts: rules look at the vitals, a book keeps what they found, and targets are told.

Rules and the book are pure; what is stored is stored before it is sent.
"""
