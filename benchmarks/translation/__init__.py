"""Translators on real sentences and words, and their speed."""
