"""The data API: what is stored, and what a provider must be asked for, over HTTP.

Everything it reads comes from the database or from the providers handed in; it never writes market rows.
"""
