"""The relay beside its peers, under the same loads: see README.md in this folder."""
