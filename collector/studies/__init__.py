"""The studies: which analytics are due, the past they are made from as it was known, and what they leave behind.

A study reads (`storage.past`), computes (`analytics`, pure) and returns rows by table; whoever runs it stores them.
"""
